"""The story of one visitor, told by an unmodified posthog-python: an anonymous visitor comes by a campaign, signs up
and is then known by name. posthog-python has no `identify`: it tells the last chapter with `alias` and `set`.

usage: posthog_python_feed.py --host URL --token KEY --anonymous ID --user ID --email E [--gzip]
stdout: {"client", "events": [{"event", "uuid", "distinctId"}]}: what the receiver acknowledged, in order
exit: 0 all acknowledged, 1 the receiver refused or could not be reached, 2 called wrongly
"""

import argparse
import json
import sys

from posthog import Posthog


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("host", "token", "anonymous", "user", "email"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--gzip", action="store_true", help="compress requests (the library's default is not to)")
    options = parser.parse_args()

    refused: set[str] = set()

    def note_refusal(error: Exception, batch: list[dict]) -> None:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        refused.update(message["uuid"] for message in batch)

    # A refusal is reported at once instead of after retries.
    client = Posthog(options.token, host=options.host, gzip=options.gzip, max_retries=0, on_error=note_refusal)
    anonymous, user = options.anonymous, options.user
    told = [
        (
            "$pageview",
            anonymous,
            client.capture(
                "$pageview",
                distinct_id=anonymous,
                properties={
                    "$current_url": "https://shop.example/?utm_source=newsletter&utm_medium=email&utm_campaign=spring",
                    "$referrer": "https://news.example/spring",
                    "$referring_domain": "news.example",
                    "utm_source": "newsletter",
                    "utm_medium": "email",
                    "utm_campaign": "spring",
                },
            ),
        ),
        ("signup", anonymous, client.capture("signup", distinct_id=anonymous, properties={"plan": "pro"})),
        ("$create_alias", anonymous, client.alias(previous_id=anonymous, distinct_id=user)),
        ("$set", user, client.set(distinct_id=user, properties={"email": options.email})),
    ]
    client.shutdown()

    acknowledged = [
        {"event": event, "uuid": uuid, "distinctId": distinct_id}
        for event, distinct_id, uuid in told
        if uuid is not None and uuid not in refused
    ]
    print(json.dumps({"client": "posthog-python", "events": acknowledged}))
    return 0 if len(acknowledged) == len(told) else 1


if __name__ == "__main__":
    sys.exit(main())
