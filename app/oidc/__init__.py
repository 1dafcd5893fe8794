"""OpenID Connect issuers: what is asked of one, and the only file that asks. Who a token's bearer is, api/auth/oidc.py says."""
