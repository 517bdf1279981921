"""Phone GPUs, by OpenCL.

A region is cut into stages (``stages``), each of which is one kernel. A work-item has a few neighbouring pixels of all
values of its stage in registers and goes through the ``steps``; convolutions read what earlier stages left in memory,
in vectors of four channels (``forms``), and weights that the work-group has copied to local memory (``weights``).
``kernel`` writes that with the builder of ``code``; ``source`` mends the OpenCL C that TVM makes of it. What can be
chosen is in ``decisions``, what is chosen where nobody tuned in ``cost``, what the tuner searches in ``space``.
"""
