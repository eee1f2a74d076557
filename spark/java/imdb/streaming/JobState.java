package imdb.streaming;

import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;

/**
 * The job's state in the driver, and its files. One batch after the other: begin, decide, save.
 *
 * <p>A batch that fails leaves the state in memory ahead of the files: the process must end then, and
 * open it anew.
 */
public final class JobState {
    private static final int FEWEST_CHANGES_A_SNAPSHOT = 50_000;

    private final MovieTable movies = new MovieTable();
    private final StateFiles files;
    private final int batchesASnapshot;
    private long changesSinceSnapshot;
    private long snapshotBatch;

    private JobState(StateFiles files, int batchesASnapshot) {
        this.files = files;
        this.batchesASnapshot = batchesASnapshot;
    }

    /**
     * Read the state as it was after a batch, or make it of what silver has, in place of files of an older format.
     *
     * @param folder where its files lie, as a URI
     * @param out the folder by way of which they get there ({@link Outlet}); null in an object store
     * @param lastBatch the last batch that Spark's checkpoint says is done; -1 for none
     * @param batchesASnapshot a snapshot is written after so many batches at the latest: what a start
     *     reads is bounded
     * @param latest a row of each movie to make it of, in columns of transformations.parse_events; null of none
     * @throws StateFiles.DamagedException a file is missing, damaged, or of an older format; the text names it
     */
    public static JobState open(
            String folder,
            String out,
            Configuration configuration,
            long lastBatch,
            int batchesASnapshot,
            boolean makes,
            Dataset<Row> latest)
            throws IOException {
        JobState state = new JobState(new StateFiles(folder, out, configuration), batchesASnapshot);
        if (!makes) {
            state.snapshotBatch = state.files.load(lastBatch, state.movies::readFrom);
            return state;
        }
        if (latest != null) {
            Batch batch = state.begin(latest, false);
            batch.read();
            state.decide(batch);
        }
        state.writeSnapshot(lastBatch);
        return state;
    }

    /** Take a batch's messages (columns of transformations.parse_events), as one part if they are few. */
    public Batch begin(Dataset<Row> messages, boolean asOnePart) {
        return new Batch(messages, asOnePart);
    }

    /** Tell a batch's new events from the others: see {@link Batch#decide}. */
    public Map<String, Long> decide(Batch batch) {
        return batch.decide(movies);
    }

    /** Write what the batch changed, or all there is. To be called when its rows are in the tables. */
    public void save(long batchId) throws IOException {
        changesSinceSnapshot += movies.changes();
        long due = Math.max(FEWEST_CHANGES_A_SNAPSHOT, movies.size() / 2);
        if (changesSinceSnapshot > due || batchId - snapshotBatch >= batchesASnapshot) {
            writeSnapshot(batchId);
        } else {
            files.write("delta", batchId, movies::writeChanges);
        }
    }

    private void writeSnapshot(long batchId) throws IOException {
        files.writeSnapshot(batchId, movies::writeAll);
        snapshotBatch = batchId;
        changesSinceSnapshot = 0;
    }

    /** Movies by genre. */
    public Map<String, Long> counts() {
        return movies.counts();
    }

    /** Movies that are known. */
    public long movies() {
        return movies.size();
    }

    /** Memory that they take. */
    public long bytes() {
        return movies.bytes();
    }
}
