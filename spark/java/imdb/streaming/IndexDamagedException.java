package imdb.streaming;

import java.io.IOException;

/** The index on disk is not whole. The text names the file. */
public final class IndexDamagedException extends IOException {
    private static final long serialVersionUID = 1;

    IndexDamagedException(String message) {
        super(message);
    }
}
