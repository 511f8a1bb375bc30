import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends the messages given as JSON lines on standard input: Produce NAME_SERVER.
 *
 * Prints a JSON line for each send. Neighbours with the same "batch" are one send.
 */
public final class Produce {
    private static final int TIMEOUT_MS = 10_000; // the default, 3 s, is short for a first send on a busy machine

    public static void main(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("devstack-produce");
        producer.setNamesrvAddr(args[0]);
        producer.setSendMsgTimeout(TIMEOUT_MS);
        producer.start();
        try {
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            String batch = null;
            List<Message> waiting = new ArrayList<>();
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                JSONObject fields = JSON.parseObject(line);
                String group = fields.getString("batch");
                if (!waiting.isEmpty() && !batch.equals(group)) {
                    report(producer.send(waiting));
                    waiting = new ArrayList<>();
                }
                batch = group;
                Message message = message(fields);
                String shardingKey = fields.getString("shardingKey");
                if (group != null) {
                    if (shardingKey != null) {
                        throw new IllegalArgumentException("a batch cannot have a shardingKey: " + line);
                    }
                    waiting.add(message);
                } else if (shardingKey != null) {
                    report(producer.send(message, new SelectMessageQueueByHash(), shardingKey));
                } else {
                    report(producer.send(message));
                }
            }
            if (!waiting.isEmpty()) {
                report(producer.send(waiting));
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.out.flush();
            Runtime.getRuntime().halt(1);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0); // an orderly end would wait for threads that have nothing to save
    }

    private static Message message(JSONObject fields) {
        byte[] body = Base64.getDecoder().decode(fields.getString("body_base64"));
        Message message = new Message(fields.getString("topic"), body);
        if (fields.getString("tags") != null) {
            message.setTags(fields.getString("tags"));
        }
        if (fields.getString("keys") != null) {
            message.setKeys(fields.getString("keys"));
        }
        if (fields.getInteger("delayLevel") != null) {
            message.setDelayTimeLevel(fields.getInteger("delayLevel"));
        }
        JSONObject properties = fields.getJSONObject("properties");
        if (properties != null) {
            for (Map.Entry<String, Object> property : properties.entrySet()) {
                message.putUserProperty(property.getKey(), (String) property.getValue());
            }
        }
        return message;
    }

    private static void report(SendResult result) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("msgId", result.getMsgId());
        fields.put("offsetMsgId", result.getOffsetMsgId());
        fields.put("queueId", result.getMessageQueue().getQueueId());
        fields.put("queueOffset", result.getQueueOffset());
        fields.put("sendStatus", result.getSendStatus().name());
        System.out.println(JSON.toJSONString(fields, SerializerFeature.WriteMapNullValue));
    }

    private Produce() {
    }
}
