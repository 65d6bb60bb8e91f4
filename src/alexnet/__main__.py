"""`python -m alexnet` is the command `alexnet`."""

import sys

try:
    from alexnet.cli import main
except KeyboardInterrupt:  # so early that nothing has begun
    sys.exit(130)

if __name__ == "__main__":
    main()
