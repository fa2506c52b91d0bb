"""Ten thousand customers in a second: the rows that opening accounts and giving credit would have written, as sets."""

from __future__ import annotations

import random

from django.db import connection

from accounts import secrets
from billing.books.models import System

SEED = 7


def populate(accounts: int, *, usd: int = 1_000_000) -> list[str]:
    """Accounts with a wallet, one grant and one key each; returns the keys' secrets. The books verify afterwards."""
    drawn = random.Random(SEED)  # not a secret that anyone may use outside this benchmark
    keys = []
    for _ in range(accounts):
        body = "sk-pg-v1-" + secrets._base62(drawn.getrandbits(256), secrets._BODY)
        keys.append(body + secrets._base62(secrets.zlib.crc32(body.encode()), secrets._CHECK))
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TEMP TABLE made AS
              SELECT n, gen_random_uuid() AS account, mh_uuid7(now()) AS over, mh_uuid7(now()) AS refunds, mh_uuid7(now()) AS grant_id,
                     mh_uuid7(now()) AS entry, mh_uuid7(now()) AS key
              FROM generate_series(1, %(n)s) n;
            INSERT INTO accounts_account (id, name, kind, status, company_name, tax_id, benefit_level_id, created_at)
              SELECT account, 'bench ' || n, 'personal', 'active', '', '', (SELECT id FROM accounts_benefitlevel ORDER BY threshold_usd LIMIT 1), now() FROM made;
            INSERT INTO billing_ledgeraccount (id, account_id, kind, code)
              SELECT over, account, 'overdraft', '' FROM made UNION ALL SELECT refunds, account, 'refunds_payable', '' FROM made
              UNION ALL SELECT grant_id, account, 'grant', '' FROM made;
            INSERT INTO billing_wallet (account_id, balance, overdraft, held, credit_limit, seq, next_expiry_at, overdraft_ledger_id, refunds_ledger_id)
              SELECT account, %(usd)s, 0, 0, 0, 1, NULL, over, refunds FROM made;
            INSERT INTO billing_creditgrant (ledger_id, account_id, kind, paid, priority, amount, remaining, expires_at, created_at, source, note)
              SELECT grant_id, account, 'promotion', false, 100, %(usd)s, %(usd)s, NULL, now(), 'bench', '' FROM made;
            INSERT INTO billing_journalentry (id, account_id, seq, kind, key, at, delta, balance_after, meta)
              SELECT entry, account, 1, 'manual_credit', 'bench', now(), %(usd)s, %(usd)s, '{}' FROM made;
            INSERT INTO billing_posting (account_id, entry_id, line, ledger_id, side, amount)
              SELECT account, entry, 1, %(manual)s::uuid, 1, %(usd)s FROM made UNION ALL SELECT account, entry, 2, grant_id, -1, %(usd)s FROM made;
            """,
            {"n": accounts, "usd": usd, "manual": System.id_of(System.MANUAL)},
        )
        cursor.execute(
            """
            INSERT INTO accounts_apikey (id, name, hash, prefix, last_four, created_at, account_id, kind)
              SELECT m.key, 'bench', h.hash, 'sk-pg-v1-', h.last, now(), m.account, 'payg'
              FROM unnest(%s::bytea[], %s::text[]) WITH ORDINALITY AS h(hash, last, n) JOIN made m ON m.n = h.n
            """,
            [[secrets.digest(key) for key in keys], [key[-4:] for key in keys]],
        )
        cursor.execute("UPDATE accounts_benefitlevel SET rpm = 100000000")
        cursor.execute("VACUUM ANALYZE")
    return keys
