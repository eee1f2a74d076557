package imdb.streaming;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.types.StructType;

/** Where the columns of schema.EVENT_SCHEMA are that matter to the index. */
final class Columns implements Serializable {
    private static final long serialVersionUID = 1;
    private final int eventId;
    private final int tconst;
    private final int timestamp;
    private final int partition;
    private final int offset;
    private final int genres;
    private final int reason;

    Columns(StructType schema) {
        eventId = schema.fieldIndex("event_id");
        tconst = schema.fieldIndex("tconst");
        timestamp = schema.fieldIndex("kafka_timestamp");
        partition = schema.fieldIndex("partition");
        offset = schema.fieldIndex("offset");
        genres = schema.fieldIndex("genres");
        reason = schema.fieldIndex("reason");
    }

    boolean isValid(InternalRow row) {
        return row.isNullAt(reason);
    }

    boolean isAt(InternalRow row, Map<Integer, long[]> offsets) {
        long[] found = offsets.get(row.getInt(partition));
        return found != null && Arrays.binarySearch(found, row.getLong(offset)) >= 0;
    }

    Facts facts() throws NoSuchAlgorithmException {
        return new Facts();
    }

    /**
     * Collects of some rows: partition and offset of the first, how many are malformed, the newest time, then a
     * {@link MovieIndex.Fact} of each event.
     */
    final class Facts {
        private final MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        private final ByteArrayOutputStream packed = new ByteArrayOutputStream(1 << 16);
        private final DataOutputStream out = new DataOutputStream(packed);
        private int firstPartition = Integer.MAX_VALUE;
        private long firstOffset;
        private int malformed;
        private long newest = Long.MIN_VALUE;

        private Facts() throws NoSuchAlgorithmException {}

        void add(InternalRow row) throws IOException {
            if (firstPartition == Integer.MAX_VALUE) {
                firstPartition = row.getInt(partition);
                firstOffset = row.getLong(offset);
            }
            newest = Math.max(newest, row.getLong(timestamp));
            if (!isValid(row)) {
                malformed++;
                return;
            }
            out.write(sha256.digest(row.getUTF8String(eventId).getBytes()), 0, 16);
            out.write(sha256.digest(row.getUTF8String(tconst).getBytes()), 0, 16);
            out.writeLong(row.getLong(timestamp));
            out.writeInt(row.getInt(partition));
            out.writeLong(row.getLong(offset));
            byte[] text = MovieIndex.joined(strings(row.getArray(genres))).getBytes(StandardCharsets.UTF_8);
            out.writeInt(text.length);
            out.write(text);
        }

        byte[] bytes() {
            ByteBuffer bytes = ByteBuffer.allocate(2 * (Integer.BYTES + Long.BYTES) + packed.size());
            bytes.putInt(firstPartition).putLong(firstOffset);
            return bytes.putInt(malformed).putLong(newest).put(packed.toByteArray()).array();
        }
    }

    private static List<String> strings(ArrayData array) {
        List<String> strings = new ArrayList<>(array.numElements());
        for (int item = 0; item < array.numElements(); item++) {
            strings.add(array.getUTF8String(item).toString());
        }
        return strings;
    }
}
