"""What decoders raise for bytes that are none of their words, whoever has sent or stored them."""

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""msgspec decodes a text only where one is wanted, and says then with Python's own error that it is not UTF-8; what is
nested deeper than Python goes is no text of ours either."""
