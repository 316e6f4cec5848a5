"""The commands: each reads its options and makes one call, importing what that needs when it is called.

No work is done here, and nothing is checked that the called function can check.
"""
