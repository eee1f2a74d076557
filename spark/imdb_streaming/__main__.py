import sys

from imdb_streaming.cli import main

sys.exit(main())
