"""What is predicted, from what, by which learner, and what a score is."""
