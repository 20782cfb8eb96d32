import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Reads messages by kafka-clients' own classes and writes them again.
 *
 * Each question on the standard input is: API key (2 bytes), version (2), 1 for a request or 0 for a response (1), the
 * message's size (4), the message. Each answer is: 1 where it was read whole (1 byte), size (4), and the message as
 * kafka-clients writes it; or 0, size, and what was wrong.
 */
public final class CodecPeer {
    public static void main(String[] arguments) throws Exception {
        DataInputStream questions = new DataInputStream(System.in);
        DataOutputStream answers = new DataOutputStream(System.out);
        while (true) {
            short key;
            try {
                key = questions.readShort();
            } catch (EOFException end) {
                return;
            }
            short version = questions.readShort();
            boolean isRequest = questions.readByte() == 1;
            byte[] message = new byte[questions.readInt()];
            questions.readFully(message);
            byte[] answer;
            boolean whole = true;
            try {
                answer = again(key, version, isRequest, message);
            } catch (RuntimeException error) {
                whole = false;
                answer = String.valueOf(error).getBytes(StandardCharsets.UTF_8);
            }
            answers.writeByte(whole ? 1 : 0);
            answers.writeInt(answer.length);
            answers.write(answer);
            answers.flush();
        }
    }

    private static byte[] again(short key, short version, boolean isRequest, byte[] message) {
        ApiMessageType type = ApiMessageType.fromApiKey(key);
        ApiMessage read = isRequest ? type.newRequest() : type.newResponse();
        ByteBuffer buffer = ByteBuffer.wrap(message);
        read.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes are left over of " + read);
        }
        ByteBuffer written = MessageUtil.toByteBufferAccessor(read, version).buffer();
        byte[] bytes = new byte[written.remaining()];
        written.get(bytes);
        return bytes;
    }
}
