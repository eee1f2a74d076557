import sys

from imdb_dashboard.cli import main

sys.exit(main())
