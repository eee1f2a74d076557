package imdb.streaming;

import java.io.Serializable;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.unsafe.types.UTF8String;

/** Where the columns of transformations.parse_events are that decide what a message is. */
final class Columns implements Serializable {
    private static final long serialVersionUID = 1;
    private final int tconst;
    private final int genres;
    private final int eventId;
    private final int version;
    private final int timestamp;
    private final int partition;
    private final int offset;
    private final int reason;

    Columns(StructType schema) {
        tconst = schema.fieldIndex("tconst");
        genres = schema.fieldIndex("genres");
        eventId = schema.fieldIndex("event_id");
        version = schema.fieldIndex("version");
        timestamp = schema.fieldIndex("kafka_timestamp");
        partition = schema.fieldIndex("partition");
        offset = schema.fieldIndex("offset");
        reason = schema.fieldIndex("reason");
    }

    boolean isValid(InternalRow row) {
        return row.isNullAt(reason);
    }

    UTF8String tconst(InternalRow row) {
        return row.getUTF8String(tconst);
    }

    ArrayData genres(InternalRow row) {
        return row.getArray(genres);
    }

    UTF8String eventId(InternalRow row) {
        return row.getUTF8String(eventId);
    }

    /** Whether the producer has given a version. */
    boolean isNumbered(InternalRow row) {
        return !row.isNullAt(version);
    }

    long version(InternalRow row) {
        return row.getLong(version);
    }

    /** The message's time in microseconds since 1970. */
    long micros(InternalRow row) {
        return row.getLong(timestamp);
    }

    int partition(InternalRow row) {
        return row.getInt(partition);
    }

    long offset(InternalRow row) {
        return row.getLong(offset);
    }
}
