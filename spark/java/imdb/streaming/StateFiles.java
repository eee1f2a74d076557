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
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import java.util.zip.CheckedOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.ChecksumException;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The job's state on disk or in an object store: `delta-N` is what batch N changed, `snapshot-N` all there was
 * after it; a batch writes one of them. The state after batch N is the latest snapshot up to N and the deltas
 * behind it, up to N.
 *
 * <p>A file ends with the CRC-32 of what is before it. It appears whole: by a rename from the {@link Outlet}, in an
 * object store when its upload is completed.
 */
final class StateFiles {
    /** Changes with the format. */
    private static final long MAGIC = 0x494d444256455231L; // "IMDBVER1"

    /** Of files with the ids of events, and of movies by time. */
    private static final long OLD_MAGIC = 0x494d444249445831L; // "IMDBIDX1"

    private static final Pattern NAME = Pattern.compile("(delta|snapshot)-([0-9]{10})");

    private final FileSystem files;
    private final Path folder;
    private final Outlet outlet;

    /** Files of a folder; `out` is the {@link Outlet}'s, null in an object store. */
    StateFiles(String folder, String out, Configuration configuration) throws IOException {
        this.folder = new Path(folder);
        this.outlet = out == null ? null : new Outlet(out);
        this.files = this.folder.getFileSystem(configuration);
        files.mkdirs(this.folder);
    }

    /** The state is not whole, or of another format. The text names the file. */
    static class DamagedException extends IOException {
        DamagedException(String message) {
            super(message);
        }
    }

    /** The state is of versions of the job that knew events by their ids alone. */
    static final class OutdatedException extends DamagedException {
        OutdatedException(String message) {
            super(message);
        }
    }

    interface Writer {
        void writeTo(DataOutputStream out) throws IOException;
    }

    interface Reader {
        void readFrom(DataInputStream in) throws IOException;
    }

    /**
     * Read the state after a batch.
     *
     * @return the batch of the snapshot that it was read from, -1 if there was none
     * @throws DamagedException a file is missing or is not what was written
     */
    long load(long lastBatch, Reader reader) throws IOException {
        Long snapshot = list("snapshot").floorKey(lastBatch);
        if (snapshot != null) {
            read("snapshot", snapshot, reader);
        }
        long begin = snapshot == null ? -1 : snapshot;
        for (long batch = begin + 1; batch <= lastBatch; batch++) {
            read("delta", batch, reader);
        }
        return begin;
    }

    private void read(String kind, long batch, Reader reader) throws IOException {
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
            reader.readFrom(in);
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
    void writeSnapshot(long batch, Writer writer) throws IOException {
        Long previous = list("snapshot").lowerKey(batch);
        write("snapshot", batch, writer);
        if (previous != null) {
            for (Path old : list("snapshot").headMap(previous, false).values()) {
                files.delete(old, false);
            }
            for (Path old : list("delta").headMap(previous, true).values()) {
                files.delete(old, false);
            }
        }
    }

    void write(String kind, long batch, Writer writer) throws IOException {
        Path target = path(kind, batch);
        if (outlet == null) {
            upload(target, batch, writer);
            return;
        }
        java.nio.file.Path file = java.nio.file.Path.of(target.toUri().getPath());
        // Not by Hadoop, which would make the folder anew that another start has removed.
        try (FileChannel channel = FileChannel.open(outlet.step(file), CREATE, WRITE, TRUNCATE_EXISTING)) {
            write(Channels.newOutputStream(channel), batch, writer);
            channel.force(true);
        } catch (FileSystemException error) {
            throw outlet.explained(error);
        }
        outlet.put(outlet.step(file), file);
    }

    /** Write the target itself: it appears, or replaces the one of before, when the stream is closed. */
    private void upload(Path target, long batch, Writer writer) throws IOException {
        FSDataOutputStream raw = files.create(target, true);
        try {
            write(raw, batch, writer);
        } catch (IOException | RuntimeException | Error error) {
            raw.abort();
            throw error;
        }
        raw.close();
    }

    private static void write(OutputStream raw, long batch, Writer writer) throws IOException {
        CRC32 sum = new CRC32();
        DataOutputStream out =
                new DataOutputStream(new BufferedOutputStream(new CheckedOutputStream(raw, sum), 1 << 20));
        out.writeLong(MAGIC);
        out.writeLong(batch);
        writer.writeTo(out);
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
