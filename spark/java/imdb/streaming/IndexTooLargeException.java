package imdb.streaming;

/** The driver's heap is too small for the index. The text says how large it must be. */
public final class IndexTooLargeException extends RuntimeException {
    private static final long serialVersionUID = 1;

    IndexTooLargeException(String message) {
        super(message);
    }
}
