"""Which settings of a learner are best on the training part, and are they better than the defaults?"""
