import sys

from imdb_standby.cli import main

sys.exit(main())
