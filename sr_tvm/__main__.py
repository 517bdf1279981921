"""The command line, as ``python -m sr_tvm``."""

from sr_tvm.cli.main import main

main()
