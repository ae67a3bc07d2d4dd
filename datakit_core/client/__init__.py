"""One asyncio API to a database, with two back ends."""
