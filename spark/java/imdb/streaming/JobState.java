package imdb.streaming;

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.TRUNCATE_EXISTING;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import java.util.zip.CheckedOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.ChecksumException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;

/**
 * The job's state in the driver, and its files on disk or in an object store. One batch after the other: decide,
 * save. A batch that fails leaves the state in memory ahead of the files: the process must end then, and open
 * it anew.
 *
 * <p>`delta-N` is what batch N changed, `snapshot-N` all there was after it; a batch writes one of them. The state
 * after batch N is the latest snapshot up to N and the deltas behind it, up to N. A file ends with the CRC-32 of what
 * is before it. It appears whole: by a rename from the {@link Outlet}, in an object store when its upload is completed.
 */
public final class JobState {
    /** Changes with the format. */
    private static final long MAGIC = 0x494d444256455231L; // "IMDBVER1"

    /** Of files with the ids of events, and of movies by time. */
    private static final long OLD_MAGIC = 0x494d444249445831L; // "IMDBIDX1"

    private static final Pattern NAME = Pattern.compile("(delta|snapshot)-([0-9]{10})");
    private static final int FEWEST_CHANGES_A_SNAPSHOT = 50_000;

    /** The state is not whole, or of another format. The text names the file. */
    public static class DamagedException extends IOException {
        DamagedException(String message) {
            super(message);
        }
    }

    /** The state is of versions of the job that knew events by their ids alone. */
    public static final class OutdatedException extends DamagedException {
        OutdatedException(String message) {
            super(message);
        }
    }

    private final MovieTable movies = new MovieTable();
    private final FileSystem files;
    private final Path folder;
    /** Null in an object store. */
    private final Outlet outlet;

    private final int batchesASnapshot;
    private long changesSinceSnapshot;
    private long snapshotBatch = -1;

    private JobState(String folder, String out, Configuration configuration, int batchesASnapshot)
            throws IOException {
        this.folder = new Path(folder);
        this.outlet = out == null ? null : new Outlet(out);
        this.files = this.folder.getFileSystem(configuration);
        this.batchesASnapshot = batchesASnapshot;
        files.mkdirs(this.folder);
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
     * @throws DamagedException a file is missing, damaged, or of an older format; the text names it
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
        JobState state = new JobState(folder, out, configuration, batchesASnapshot);
        if (!makes) {
            state.load(lastBatch);
            return state;
        }
        if (latest != null) {
            Batch batch = new Batch(latest, false);
            batch.read();
            state.decide(batch);
        }
        state.writeSnapshot(lastBatch);
        return state;
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
            write("delta", batchId);
        }
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

    private void load(long lastBatch) throws IOException {
        Long snapshot = list("snapshot").floorKey(lastBatch);
        if (snapshot != null) {
            read("snapshot", snapshot);
            snapshotBatch = snapshot;
        }
        for (long batch = snapshotBatch + 1; batch <= lastBatch; batch++) {
            read("delta", batch);
        }
    }

    private void read(String kind, long batch) throws IOException {
        Path path = path(kind, batch);
        CRC32 sum = new CRC32();
        try (DataInputStream raw = new DataInputStream(new BufferedInputStream(files.open(path), 1 << 20))) {
            DataInputStream in = new DataInputStream(new CheckedInputStream(raw, sum));
            long magic = in.readLong();
            if (magic == OLD_MAGIC) {
                throw new OutdatedException(path + " is of an older version of the job.");
            }
            if (magic != MAGIC || in.readLong() != batch) {
                throw new DamagedException(path + " is not of this format, or of another batch.");
            }
            movies.readFrom(in);
            long computed = sum.getValue();
            if (raw.readLong() != computed) {
                throw new DamagedException(path + " is damaged: its checksum does not fit.");
            }
        } catch (FileNotFoundException error) {
            throw new DamagedException(path + " is missing.");
        } catch (ChecksumException error) {
            throw new DamagedException(path + " is damaged: " + error.getMessage());
        } catch (EOFException error) {
            throw new DamagedException(path + " is cut short.");
        }
    }

    /**
     * Write a snapshot, and remove what neither it nor the one before it needs.
     *
     * <p>A job that is overtaken after the snapshot is in place may still remove, whenever it goes on. What
     * it removes is before a snapshot that its successor has found, which needs none of it either.
     */
    private void writeSnapshot(long batch) throws IOException {
        Long previous = list("snapshot").lowerKey(batch);
        write("snapshot", batch);
        if (previous != null) {
            for (Path old : list("snapshot").headMap(previous, false).values()) {
                files.delete(old, false);
            }
            for (Path old : list("delta").headMap(previous, true).values()) {
                files.delete(old, false);
            }
        }
        snapshotBatch = batch;
        changesSinceSnapshot = 0;
    }

    private void write(String kind, long batch) throws IOException {
        Path target = path(kind, batch);
        if (outlet == null) {
            TableFiles.upload(files, target, raw -> write(raw, kind, batch));
            return;
        }
        java.nio.file.Path file = java.nio.file.Path.of(target.toUri().getPath());
        // Not by Hadoop, which would make the folder anew that another start has removed.
        try (FileChannel channel = FileChannel.open(outlet.step(file), CREATE, WRITE, TRUNCATE_EXISTING)) {
            write(Channels.newOutputStream(channel), kind, batch);
            channel.force(true);
        } catch (FileSystemException error) {
            throw outlet.explained(error);
        }
        outlet.put(outlet.step(file), file);
    }

    private void write(OutputStream raw, String kind, long batch) throws IOException {
        CRC32 sum = new CRC32();
        DataOutputStream out =
                new DataOutputStream(new BufferedOutputStream(new CheckedOutputStream(raw, sum), 1 << 20));
        out.writeLong(MAGIC);
        out.writeLong(batch);
        if (kind.equals("delta")) {
            movies.writeChanges(out);
        } else {
            movies.writeAll(out);
        }
        out.flush();
        out.writeLong(sum.getValue());
        out.flush();
    }

    private Path path(String kind, long batch) {
        return new Path(folder, String.format("%s-%010d", kind, batch));
    }

    private NavigableMap<Long, Path> list(String kind) throws IOException {
        NavigableMap<Long, Path> found = new TreeMap<>();
        for (FileStatus status : files.listStatus(folder)) {
            Matcher matcher = NAME.matcher(status.getPath().getName());
            if (matcher.matches() && matcher.group(1).equals(kind)) {
                found.put(Long.parseLong(matcher.group(2)), status.getPath());
            }
        }
        return found;
    }
}
