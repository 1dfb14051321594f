"""From a fitted estimator to a model directory. Needs the compiler; a replica never imports it."""
