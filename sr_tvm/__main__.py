from sr_tvm.cli.main import main

main()
