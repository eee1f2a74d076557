package imdb.streaming;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.expressions.XXH64;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * Collects what the driver needs to know of a part of a batch: {@value #BYTES} bytes of each valid event, each list of
 * genres once, {@value #RUN_BYTES} bytes for each partition of the topic, and 40 for the part.
 */
final class Facts {
    /** Key of the movie, version, digest of the content; number of the list of genres, ~ where a time stands in. */
    static final int BYTES = 3 * Long.BYTES + Integer.BYTES;
    /** Partition, offset of the first event, and its number in the part. */
    static final int RUN_BYTES = Integer.BYTES + Long.BYTES + Integer.BYTES;

    /** Of a tconst: more digits than a long holds. */
    private static final int MOST_DIGITS = 18;

    private final int part;
    private final Columns columns;
    private final Map<UTF8String, Integer> lists = new LinkedHashMap<>();
    private final Map<UTF8String, String> texts = new HashMap<>();
    private final ByteArrayOutputStream runs = new ByteArrayOutputStream();
    private ByteBuffer events = ByteBuffer.allocate(1 << 16);
    private int partition = Integer.MIN_VALUE;
    private long offset;
    private int firstPartition = Integer.MIN_VALUE;
    private long firstOffset;
    private int valid;
    private int malformed;
    private long newest = Long.MIN_VALUE;

    Facts(int part, Columns columns) {
        this.part = part;
        this.columns = columns;
    }

    void add(InternalRow row) {
        if (firstPartition == Integer.MIN_VALUE) {
            firstPartition = columns.partition(row);
            firstOffset = columns.offset(row);
        }
        newest = Math.max(newest, columns.micros(row));
        if (!columns.isValid(row)) {
            malformed++;
            return;
        }
        if (columns.partition(row) != partition || columns.offset(row) < offset) {
            partition = columns.partition(row);
            runs.writeBytes(
                    ByteBuffer.allocate(RUN_BYTES).putInt(partition).putLong(columns.offset(row)).putInt(valid).array());
        }
        offset = columns.offset(row);
        if (events.remaining() < BYTES) {
            events = ByteBuffer.allocate(2 * events.capacity()).put(events.flip());
        }
        int list = listOf((UnsafeArrayData) columns.genres(row));
        boolean isNumbered = columns.isNumbered(row);
        events.putLong(key(columns.tconst(row)))
                .putLong(isNumbered ? columns.version(row) : Math.floorDiv(columns.micros(row), 1000))
                .putLong(digest(columns.eventId(row)))
                .putInt(isNumbered ? list : ~list);
        valid++;
    }

    /** A movie's key: the digits behind a 1, as one number; where they are too many, a digest. Never 0. */
    static long key(UTF8String tconst) {
        int digits = tconst.numBytes() - 2;
        if (digits > MOST_DIGITS) {
            return digest(tconst) | Long.MIN_VALUE;
        }
        long key = 1;
        for (int at = 2; at < tconst.numBytes(); at++) {
            key = key * 10 + tconst.getByte(at) - '0';
        }
        return key;
    }

    private static long digest(UTF8String text) {
        return XXH64.hashUnsafeBytes(text.getBaseObject(), text.getBaseOffset(), text.numBytes(), 42);
    }

    /** Lists are told apart by their bytes, and made texts of once. */
    private int listOf(UnsafeArrayData genres) {
        UTF8String bytes =
                UTF8String.fromAddress(genres.getBaseObject(), genres.getBaseOffset(), genres.getSizeInBytes());
        Integer known = lists.get(bytes);
        if (known != null) {
            return known;
        }
        UTF8String copy = bytes.copy();
        texts.put(copy, GenreLists.joined(genres));
        lists.put(copy, lists.size());
        return lists.size() - 1;
    }

    /** All of it; {@link Batch} reads it. */
    byte[] bytes() {
        ByteArrayOutputStream out = new ByteArrayOutputStream(events.position() + 1024);
        ByteBuffer head = ByteBuffer.allocate(32).putInt(part).putInt(firstPartition).putLong(firstOffset);
        out.writeBytes(head.putInt(malformed).putLong(newest).putInt(lists.size()).array());
        for (UTF8String list : lists.keySet()) {
            byte[] text = texts.get(list).getBytes(StandardCharsets.UTF_8);
            out.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(text.length).array());
            out.writeBytes(text);
        }
        out.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(runs.size() / RUN_BYTES).array());
        out.writeBytes(runs.toByteArray());
        out.writeBytes(ByteBuffer.allocate(Integer.BYTES).putInt(valid).array());
        out.write(events.array(), 0, events.position());
        return out.toByteArray();
    }
}
