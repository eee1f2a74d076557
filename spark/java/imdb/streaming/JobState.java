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

    private final MovieIndex index;
    private final IndexFiles files;
    private final int batchesASnapshot;
    private MovieIndex.Delta delta;
    private long changesSinceSnapshot;
    private long snapshotBatch;

    private JobState(MovieIndex index, IndexFiles files, int batchesASnapshot) {
        this.index = index;
        this.files = files;
        this.batchesASnapshot = batchesASnapshot;
    }

    /**
     * Read the state as it was after a batch.
     *
     * @param folder where its files lie, as a URI
     * @param out the folder by way of which they get there ({@link Outlet}); null in an object store
     * @param lastBatch the last batch that Spark's checkpoint says is done; -1 for none
     * @param retentionDays how long an event id is known after it was last seen
     * @param batchesASnapshot a snapshot is written after so many batches at the latest: what a start
     *     reads is bounded
     * @throws IndexDamagedException a file is missing or damaged; the text names it
     * @throws IndexTooLargeException the heap is too small for it; the text says how large it must be
     */
    public static JobState open(
            String folder,
            String out,
            Configuration configuration,
            long lastBatch,
            int retentionDays,
            int batchesASnapshot)
            throws IOException {
        JobState state =
                new JobState(
                        new MovieIndex(retentionDays), new IndexFiles(folder, out, configuration), batchesASnapshot);
        state.snapshotBatch = state.files.load(lastBatch, state.index::readFrom);
        state.index.checkRoom();
        return state;
    }

    /** Keep a batch's rows (columns of schema.EVENT_SCHEMA) once they are read. */
    public Batch begin(Dataset<Row> events) {
        return Batch.keep(events);
    }

    /**
     * Tell a batch's new events from known ones.
     *
     * @param plannedAt when Spark has planned the batch, by its checkpoint, in milliseconds since 1970: the
     *     same however often, and whenever, the batch is run
     * @param plannedBefore the same of the batch before; of the first batch its own
     */
    public void decide(Batch batch, long plannedAt, long plannedBefore) {
        delta = new MovieIndex.Delta();
        index.beginBatch(plannedAt, plannedBefore);
        batch.decide(fact -> index.add(fact, delta));
    }

    /** Write what the batch changed. To be called when its rows are in the tables. */
    public void save(long batchId) throws IOException {
        files.writeDelta(batchId, delta::writeTo);
        changesSinceSnapshot += delta.size();
        delta = null;
        long due = Math.max(FEWEST_CHANGES_A_SNAPSHOT, (index.ids() + (long) index.movies()) / 2);
        if (changesSinceSnapshot > due || batchId - snapshotBatch >= batchesASnapshot) {
            index.forget();
            files.writeSnapshot(batchId, index::writeTo);
            snapshotBatch = batchId;
            changesSinceSnapshot = 0;
        }
    }

    /** Movies by genre. */
    public Map<String, Long> counts() {
        return index.counts();
    }

    /** Event ids that are known. */
    public long ids() {
        return index.ids();
    }

    /** Movies that are known. */
    public long movies() {
        return index.movies();
    }

    /** Memory that the index takes. */
    public long bytes() {
        return index.bytes();
    }
}
