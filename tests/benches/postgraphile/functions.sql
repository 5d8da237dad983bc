-- What the product's API says and its tables alone do not: absorbed contacts' rows are their root's, lists leave absorbed
-- contacts out, a write tells the log. PostgreSQL inlines what it can of these. The tenant is said beside the policies, as the
-- other servers say it: the planner uses indexes better so.

CREATE OR REPLACE FUNCTION contact_by_id(id uuid) RETURNS contact LANGUAGE sql STABLE AS $$
  SELECT root.* FROM contact asked
  JOIN contact root ON root.tenant_id = asked.tenant_id AND root.id = coalesce(asked.merged_into, asked.id)
  WHERE asked.tenant_id = current_setting('app.tenant')::uuid AND asked.id = contact_by_id.id
$$;

CREATE OR REPLACE FUNCTION contacts_by_stage(stage text) RETURNS SETOF contact LANGUAGE sql STABLE AS $$
  SELECT * FROM contact WHERE tenant_id = current_setting('app.tenant')::uuid AND merged_into IS NULL AND id IN (
    SELECT contact_id FROM contact_trait
    WHERE tenant_id = current_setting('app.tenant')::uuid
      AND key = 'stage' AND text = stage AND value = to_jsonb(stage)
  ) ORDER BY created_at DESC, id DESC
$$;

CREATE OR REPLACE FUNCTION listed_contacts() RETURNS SETOF contact LANGUAGE sql STABLE AS $$
  SELECT * FROM contact WHERE tenant_id = current_setting('app.tenant')::uuid AND merged_into IS NULL ORDER BY created_at DESC, id DESC
$$;

CREATE OR REPLACE FUNCTION contact_known(c contact) RETURNS SETOF contact_identifier LANGUAGE sql STABLE AS $$
  SELECT * FROM contact_identifier WHERE tenant_id = c.tenant_id AND contact_id = c.id ORDER BY first_seen_at, id
$$;

CREATE OR REPLACE FUNCTION contact_history(c contact) RETURNS SETOF event LANGUAGE sql STABLE AS $$
  SELECT * FROM event WHERE tenant_id = c.tenant_id AND contact_id IN (
    SELECT c.id UNION ALL SELECT absorbed_id FROM contact_alias WHERE tenant_id = c.tenant_id AND contact_id = c.id
  ) ORDER BY occurred_at DESC, id DESC
$$;

CREATE OR REPLACE FUNCTION contact_referrals(c contact) RETURNS int LANGUAGE sql STABLE AS $$
  SELECT count(*)::int FROM event WHERE tenant_id = c.tenant_id AND name = 'referral.converted' AND contact_id IN (
    SELECT c.id UNION ALL SELECT absorbed_id FROM contact_alias WHERE tenant_id = c.tenant_id AND contact_id = c.id
  )
$$;

CREATE OR REPLACE FUNCTION contact_offers(c contact) RETURNS SETOF nudge_delivery LANGUAGE sql STABLE AS $$
  SELECT * FROM nudge_delivery WHERE tenant_id = c.tenant_id AND contact_id IN (
    SELECT c.id UNION ALL SELECT absorbed_id FROM contact_alias WHERE tenant_id = c.tenant_id AND contact_id = c.id
  ) ORDER BY offered_at DESC, id DESC
$$;

CREATE OR REPLACE FUNCTION contact_first_source(c contact) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT c.first_touch ->> 'source'
$$;
CREATE OR REPLACE FUNCTION contact_first_medium(c contact) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT c.first_touch ->> 'medium'
$$;
CREATE OR REPLACE FUNCTION contact_first_campaign(c contact) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT c.first_touch ->> 'campaign'
$$;

CREATE OR REPLACE FUNCTION set_plan(contact uuid, plan text) RETURNS contact_trait LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  root contact;
  event_id uuid := gen_random_uuid();
  said contact_trait;
BEGIN
  SELECT c.* INTO root FROM contact c WHERE c.tenant_id = current_setting('app.tenant')::uuid AND c.id = (
    SELECT coalesce(asked.merged_into, asked.id) FROM contact asked
    WHERE asked.tenant_id = current_setting('app.tenant')::uuid AND asked.id = set_plan.contact
  ) FOR UPDATE;
  UPDATE contact c SET updated_at = now(), last_seen_at = CASE
      WHEN c.last_seen_at > now() - interval '1 minute' THEN c.last_seen_at ELSE now() END
    WHERE c.tenant_id = root.tenant_id AND c.id = root.id;
  INSERT INTO contact_trait AS t (id, tenant_id, contact_id, key, value, text, rank, source, observed_at, said_by)
    VALUES (gen_random_uuid(), root.tenant_id, root.id, 'plan', to_jsonb(plan), plan, 1, 'api', now(), event_id)
    ON CONFLICT (tenant_id, contact_id, key) DO UPDATE SET
      value = excluded.value, text = excluded.text, number = excluded.number, rank = excluded.rank,
      source = excluded.source, observed_at = excluded.observed_at, said_by = excluded.said_by
    WHERE excluded.rank > t.rank OR (excluded.observed_at, excluded.said_by) >= (t.observed_at, t.said_by);
  INSERT INTO event (id, tenant_id, partition, contact_id, name, properties, context, source, causation_depth,
      occurred_at, received_at)
    VALUES (event_id, root.tenant_id, get_byte(uuid_send(root.id), 15) & 15, root.id, '$set',
      jsonb_build_object('$set', jsonb_build_object('plan', plan)), '{}', 'api', 0, now(), now());
  SELECT t.* INTO said FROM contact_trait t
    WHERE t.tenant_id = root.tenant_id AND t.contact_id = root.id AND t.key = 'plan';
  RETURN said;
END
$$;
