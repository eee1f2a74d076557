package imdb.streaming;

import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.unsafe.Platform;

/**
 * Some rows of a partition in one array, each behind its size, and what the index needs to know of them.
 *
 * <p>So the block store keeps, measures and drops a few large arrays, not an object for each row.
 */
final class Chunk implements Serializable {
    private static final long serialVersionUID = 1;
    /** A chunk is full when its rows take so many bytes. */
    private static final int FULL = 1 << 20;

    private final byte[] facts;
    private final byte[] rows;
    private final int columns;

    private Chunk(byte[] facts, byte[] rows, int columns) {
        this.facts = facts;
        this.rows = rows;
        this.columns = columns;
    }

    /** See {@link Columns.Facts}. */
    byte[] facts() {
        return facts;
    }

    /** The rows; one object, which is another row after each step. */
    Iterator<InternalRow> rows() {
        ByteBuffer sizes = ByteBuffer.wrap(rows);
        UnsafeRow row = new UnsafeRow(columns);
        return new Iterator<>() {
            private int at;

            @Override
            public boolean hasNext() {
                return at < rows.length;
            }

            @Override
            public InternalRow next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                int size = sizes.getInt(at);
                row.pointTo(rows, Platform.BYTE_ARRAY_OFFSET + at + Long.BYTES, size);
                at += Long.BYTES + size;
                return row;
            }
        };
    }

    /** Packs the rows of a partition, a chunk at a time. */
    static final class Packer implements Iterator<Chunk> {
        private final Columns columns;
        private final Iterator<InternalRow> rows;
        private byte[] packed = new byte[FULL + (FULL >> 3)];

        Packer(Columns columns, Iterator<InternalRow> rows) {
            this.columns = columns;
            this.rows = rows;
        }

        @Override
        public boolean hasNext() {
            return rows.hasNext();
        }

        @Override
        public Chunk next() {
            try {
                Columns.Facts facts = columns.facts();
                int end = 0;
                int width = 0;
                while (end < FULL && rows.hasNext()) {
                    UnsafeRow row = (UnsafeRow) rows.next();
                    facts.add(row);
                    end = append(row, end);
                    width = row.numFields();
                }
                return new Chunk(facts.bytes(), Arrays.copyOf(packed, end), width);
            } catch (IOException | NoSuchAlgorithmException error) {
                throw new IllegalStateException("Memory does not fail so, and Java has SHA-256.", error);
            }
        }

        /** Sizes take 8 bytes each, so that rows begin where a processor reads them fast. */
        private int append(UnsafeRow row, int at) {
            int size = row.getSizeInBytes();
            int end = at + Long.BYTES + size;
            if (end > packed.length) {
                packed = Arrays.copyOf(packed, Math.max(end, 2 * packed.length));
            }
            ByteBuffer.wrap(packed).putInt(at, size);
            Platform.copyMemory(
                    row.getBaseObject(),
                    row.getBaseOffset(),
                    packed,
                    Platform.BYTE_ARRAY_OFFSET + at + Long.BYTES,
                    size);
            return end;
        }
    }
}
