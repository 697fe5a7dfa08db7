"""What the batch learner is made of: columns of calls, points of time, and one module for each kind of finding."""
