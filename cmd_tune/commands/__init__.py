"""The commands: each reads its options and makes one call, importing what that needs when it is called.

Not here: any work, and checks that the called function can make.
"""
