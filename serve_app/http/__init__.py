"""HTTP: what a request must look like, and what is answered."""
