import sys

from imdb_streaming.job import main

sys.exit(main())
