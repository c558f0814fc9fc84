"""The decipherment benchmark: passages whose truth is known and hidden, and what independent readers make of them."""
