package imdb.streaming;

import java.io.ByteArrayOutputStream;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.expressions.XXH64;
import org.apache.spark.sql.types.StructType;
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
    private final Map<UTF8String, Integer> lists = new HashMap<>();
    private final List<String> texts = new ArrayList<>();
    private final ByteArrayOutputStream runs = new ByteArrayOutputStream();
    private ByteBuffer events = ByteBuffer.allocate(1 << 16);
    private int lastPartition = Integer.MIN_VALUE;
    private long lastOffset;
    private int firstPartition = Integer.MIN_VALUE;
    private long firstOffset;
    private int valid;
    private int malformed;
    private long newest = Long.MIN_VALUE;

    Facts(int part, Columns columns) {
        this.part = part;
        this.columns = columns;
    }

    /** Where the columns of transformations.parse_events are that decide what a message is. */
    record Columns(
            int tconst, int genres, int eventId, int version, int timestamp, int partition, int offset, int reason)
            implements Serializable {
        Columns(StructType schema) {
            this(
                    schema.fieldIndex("tconst"),
                    schema.fieldIndex("genres"),
                    schema.fieldIndex("event_id"),
                    schema.fieldIndex("version"),
                    schema.fieldIndex("kafka_timestamp"),
                    schema.fieldIndex("partition"),
                    schema.fieldIndex("offset"),
                    schema.fieldIndex("reason"));
        }

        boolean isValid(InternalRow row) {
            return row.isNullAt(reason);
        }
    }

    void add(InternalRow row) {
        int partition = row.getInt(columns.partition);
        long offset = row.getLong(columns.offset);
        long micros = row.getLong(columns.timestamp);
        if (firstPartition == Integer.MIN_VALUE) {
            firstPartition = partition;
            firstOffset = offset;
        }
        newest = Math.max(newest, micros);
        if (!columns.isValid(row)) {
            malformed++;
            return;
        }
        if (partition != lastPartition || offset < lastOffset) {
            runs.writeBytes(ByteBuffer.allocate(RUN_BYTES).putInt(partition).putLong(offset).putInt(valid).array());
        }
        lastPartition = partition;
        lastOffset = offset;
        if (events.remaining() < BYTES) {
            events = ByteBuffer.allocate(2 * events.capacity()).put(events.flip());
        }
        int list = listOf((UnsafeArrayData) row.getArray(columns.genres));
        boolean isNumbered = !row.isNullAt(columns.version);
        events.putLong(key(row.getUTF8String(columns.tconst)))
                .putLong(isNumbered ? row.getLong(columns.version) : Math.floorDiv(micros, 1000))
                .putLong(digest(row.getUTF8String(columns.eventId)))
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
        lists.put(bytes.copy(), texts.size());
        texts.add(GenreLists.joined(genres));
        return texts.size() - 1;
    }

    /** All of it; {@link Batch} reads it. */
    byte[] bytes() {
        ByteArrayOutputStream out = new ByteArrayOutputStream(events.position() + 1024);
        ByteBuffer head = ByteBuffer.allocate(32).putInt(part).putInt(firstPartition).putLong(firstOffset);
        out.writeBytes(head.putInt(malformed).putLong(newest).putInt(texts.size()).array());
        for (String list : texts) {
            byte[] text = list.getBytes(StandardCharsets.UTF_8);
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
