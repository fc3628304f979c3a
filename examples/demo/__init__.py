"""The demo: two kits, three links that fail one after another, a command post, and a ledger outside all of them."""
