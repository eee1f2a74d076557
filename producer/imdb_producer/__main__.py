import sys

from imdb_producer.cli import main

sys.exit(main())
