"""Everything of Ray that is not public, in one place.

Ray may change any of it in any release. Each entry names the source in Ray 2.60.0 that it relies
on; tests/ray_internals compares it with the installed Ray and fails when it has moved.
Importing these modules does not import Ray, which reads its environment when it is imported.
"""
