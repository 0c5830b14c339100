"""How good is a model, for whom, how sure, how honest?"""
