-- One tenant with `bench.contacts` contacts, each with two identifiers, two traits and five events of the last year. The first
-- two contacts have ten thousand events more. Everything is told by numbers, so every run has the same rows.

-- Not declared immutable, or PostgreSQL would not write them into the statements.
CREATE FUNCTION pg_temp.id_of(at timestamptz, what text) RETURNS uuid LANGUAGE sql AS $$
    SELECT overlay(overlay(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || substr(md5(what), 13)
        PLACING '7' FROM 13) PLACING '8' FROM 17)::uuid
$$;
CREATE FUNCTION pg_temp.made(n bigint) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT timestamptz '2026-11-01T00:00:00Z' - n * interval '1 minute'
$$;
CREATE FUNCTION pg_temp.contact(n bigint) RETURNS uuid LANGUAGE sql AS $$
    SELECT pg_temp.id_of(pg_temp.made(n), 'contact' || n)
$$;

INSERT INTO tenant (id, name, token_key, created_at)
VALUES ('01a00000-0000-7000-8000-000000000001', 'one', 'no token is minted here', '2026-01-01Z');
INSERT INTO api_key (id, tenant_id, kind, name, prefix, hash, scopes, created_at)
SELECT '01a00000-0000-7000-8000-000000000002', id, 'secret', 'bench', 'gos_sk_bbbbbb',
    encode(sha256(('gos_sk_' || repeat('b', 64))::bytea), 'hex'), '["*"]', '2026-01-01Z'
FROM tenant;
-- The months of its events.
SELECT log_month_make(month AT TIME ZONE 'UTC')
FROM generate_series(timestamp '2025-11-01', '2026-10-01', interval '1 month') AS month;

INSERT INTO contact (id, tenant_id, status, distinct_id, last_seen_at, created_at, updated_at)
SELECT pg_temp.contact(n), t.id, 'known', 'user-' || n, pg_temp.made(n) + interval '7 days', pg_temp.made(n),
    pg_temp.made(n) + (n * 7919 % 500000) * interval '1 second'
FROM tenant t, generate_series(1, current_setting('bench.contacts')::bigint) n;

INSERT INTO contact_identifier (id, tenant_id, contact_id, kind, value, shown, verification, source, first_seen_at, last_seen_at,
    origin_id, blocked)
SELECT pg_temp.id_of(pg_temp.made(n), kind || n), t.id, pg_temp.contact(n), kind, value, value, 'asserted_by_backend', 'api',
    pg_temp.made(n), pg_temp.made(n), pg_temp.contact(n), false
FROM tenant t, generate_series(1, current_setting('bench.contacts')::bigint) n,
    LATERAL (VALUES ('external_id', 'user-' || n), ('email', 'user-' || n || '@example.com')) said (kind, value);

INSERT INTO contact_trait (id, tenant_id, contact_id, key, value, text, number, rank, source, observed_at, said_by)
SELECT pg_temp.id_of(pg_temp.made(n), key || n), t.id, pg_temp.contact(n), key, coalesce(to_jsonb(number), to_jsonb(text)), text,
    number, 1, 'api', pg_temp.made(n), pg_temp.id_of(pg_temp.made(n), 'said' || n)
FROM tenant t, generate_series(1, current_setting('bench.contacts')::bigint) n,
    LATERAL (VALUES
        ('plan', CASE WHEN n % 100 = 0 THEN 'enterprise' WHEN n % 10 = 0 THEN 'pro' ELSE 'free' END, NULL),
        ('seats', NULL, (n * 31 % 1000)::float8)) said (key, text, number);

INSERT INTO event (id, partition, tenant_id, contact_id, name, properties, context, source, causation_depth, occurred_at, received_at)
SELECT pg_temp.id_of(at, 'event' || n), get_byte(uuid_send(c), 15) & 15, t.id, c,
    CASE WHEN n % 20 = 0 THEN 'order placed' WHEN n % 7 = 0 THEN 'signed in' ELSE '$pageview' END,
    jsonb_build_object('n', n, 'path', '/page/' || n % 100), '{}', 'api', 0, at, at
FROM tenant t, LATERAL (SELECT current_setting('bench.contacts')::bigint AS contacts) size,
    LATERAL generate_series(5 * contacts + 20000, 1, -1) n,
    LATERAL (SELECT timestamptz '2026-11-01T00:00:00Z' - n * (interval '365 days' / (5 * contacts + 20000)) AS at) happened,
    LATERAL (SELECT pg_temp.contact(CASE WHEN n <= 20000 THEN 1 + n % 2 ELSE 1 + n * 7919 % contacts END) AS c) whose;
