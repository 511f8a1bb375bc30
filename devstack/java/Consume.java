import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.PrintStream;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Prints the messages of a topic as JSON lines: Consume NAME_SERVER TOPIC EXPECTED TIMEOUT_S GRACE_S.
 *
 * It pulls queue by queue. The newer consumers share queues out in the background and need seconds for that.
 */
@SuppressWarnings("deprecation")
public final class Consume {
    private static final int MAX_PER_PULL = 32;
    private static final long IDLE_MS = 10;

    public static void main(String[] args) {
        try {
            consume(args);
        } catch (Throwable error) {
            error.printStackTrace();
            Runtime.getRuntime().halt(1); // the client's threads would keep the process alive
        }
    }

    private static void consume(String[] args) throws Exception {
        String topic = args[1];
        long expected = Long.parseLong(args[2]);
        long start = System.nanoTime();
        long timeoutNs = (long) (Double.parseDouble(args[3]) * 1e9);
        long graceNs = (long) (Double.parseDouble(args[4]) * 1e9);

        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("devstack-consume");
        consumer.setNamesrvAddr(args[0]);
        consumer.start();
        Map<MessageQueue, Long> offsets = new HashMap<>();
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            offsets.put(queue, 0L);
        }

        // Not System.out: its encoding is the platform's.
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        long count = 0;
        long last = start;
        while (System.nanoTime() - start < timeoutNs
            && !(expected >= 0 && count >= expected && System.nanoTime() - last >= graceNs)) {
            boolean idle = true;
            for (Map.Entry<MessageQueue, Long> entry : offsets.entrySet()) {
                PullResult result = consumer.pull(entry.getKey(), "*", entry.getValue(), MAX_PER_PULL);
                entry.setValue(result.getNextBeginOffset());
                if (result.getMsgFoundList() == null) {
                    continue;
                }
                for (MessageExt message : result.getMsgFoundList()) {
                    out.println(line(message));
                    count++;
                    last = System.nanoTime();
                    idle = false;
                }
            }
            if (idle) {
                Thread.sleep(IDLE_MS);
            }
        }
        out.flush();
        Runtime.getRuntime().halt(0); // an orderly end would wait for threads that have nothing to save
    }

    private static String line(MessageExt message) {
        Map<String, String> properties = new TreeMap<>(message.getProperties());
        // PullAPIWrapper adds these two at each pull; they are not stored.
        properties.remove(MessageConst.PROPERTY_MIN_OFFSET);
        properties.remove(MessageConst.PROPERTY_MAX_OFFSET);
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("topic", message.getTopic());
        fields.put("queueId", message.getQueueId());
        fields.put("queueOffset", message.getQueueOffset());
        fields.put("msgId", properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX));
        fields.put("offsetMsgId", ((MessageClientExt) message).getOffsetMsgId());
        fields.put("tags", message.getTags());
        fields.put("keys", message.getKeys());
        fields.put("bornTimestamp", message.getBornTimestamp());
        fields.put("storeTimestamp", message.getStoreTimestamp());
        // The Java client decodes an empty body as null.
        byte[] body = message.getBody() == null ? new byte[0] : message.getBody();
        fields.put("body_base64", Base64.getEncoder().encodeToString(body));
        fields.put("properties", properties);
        return JSON.toJSONString(fields, SerializerFeature.WriteMapNullValue, SerializerFeature.BrowserCompatible);
    }

    private Consume() {
    }
}
