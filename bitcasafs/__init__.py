"""BitcasaFS: a Bitcasa drive as an ordinary folder, and the portal server behind it."""

__version__ = "0.1.0"
