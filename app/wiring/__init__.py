"""The composition root: settings → store → hosts → controllers → API. The only room that chooses adapters."""
