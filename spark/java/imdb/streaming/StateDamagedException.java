package imdb.streaming;

import java.io.IOException;

/** The state on disk is not whole, or of another format. The text names the file. */
public class StateDamagedException extends IOException {
    private static final long serialVersionUID = 1;

    StateDamagedException(String message) {
        super(message);
    }

    /** The state is of versions of the job that knew events by their ids alone. */
    public static final class Outdated extends StateDamagedException {
        private static final long serialVersionUID = 1;

        Outdated(String message) {
            super(message);
        }
    }
}
