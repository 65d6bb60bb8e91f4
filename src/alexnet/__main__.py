"""`python -m alexnet` is the command `alexnet`."""

from alexnet.cli import main

if __name__ == "__main__":
    main()
