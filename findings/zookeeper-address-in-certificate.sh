#!/usr/bin/env bash
# ZooKeeper's client 3.9.4 (Spark 4.1.1 has it), server 3.8.4, TLS: a client that is given an IP address refuses a
# certificate with that very address in subjectAltName, and connects again and again. zookeeper.sasl.client is true by
# default, and without any SASL too the client then looks up the name of the address, for a Kerberos principal that it
# does not need. From then on that name stands for the address, and has to be in the certificate: in 3.9.4
# zookeeper.fips-mode is true by default, so that Java checks the certificate, by the name. In 3.8.4 it is false, and
# ZooKeeper checks by itself, by the address first. zookeeper.sasl.client=false leaves the address as it was given.
# Seen:
#   3.8.4:                               connected
#   3.9.4:                               not connected: No name matching zookeeper-1.example found
#   3.9.4, zookeeper.fips-mode=false:    connected
#   3.9.4, zookeeper.sasl.client=false:  connected
# Needs a JDK, mvn and openssl. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
server=
end() {
    if [ -n "$server" ]; then
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT
cd "$work"

for version in 3.8.4 3.9.4; do
    mkdir "$version"
    cat >"$version/pom.xml" <<POM
<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>$version</version>
</dependency>
<dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version>
</dependency>
<dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version>
</dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>2.0.13</version></dependency>
</dependencies></project>
POM
    mvn -q -B -f "$version/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/$version/libs"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out certificate.pem -days 2 \
    -subj /CN=zookeeper -addext subjectAltName=IP:127.0.0.1 2>/dev/null
cat key.pem certificate.pem >host.pem
# The name of the address, as DNS would give it.
echo 127.0.0.1 zookeeper-1.example >hosts

cat >Port.java <<'JAVA'
class Port {
    public static void main(String[] none) throws Exception {
        try (var socket = new java.net.ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
            System.out.println(socket.getLocalPort());
        }
    }
}
JAVA
port=$(java Port.java)
printf '%s\n' "dataDir=$work/data" "secureClientPort=$port" secureClientPortAddress=127.0.0.1 admin.enableServer=false \
    serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory "ssl.keyStore.location=$work/host.pem" \
    "ssl.trustStore.location=$work/certificate.pem" ssl.protocol=TLSv1.3 ssl.enabledProtocols=TLSv1.3 \
    ssl.ciphersuites=TLS_AES_128_GCM_SHA256 >zoo.cfg
java -Xmx256m -cp '3.8.4/libs/*' org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg >server.log 2>&1 &
server=$!
for ((tries = 0; tries < 600; tries++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
done

cat >Try.java <<'JAVA'
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

class Try {
    public static void main(String[] servers) throws Exception {
        var connected = new CountDownLatch(1);
        new ZooKeeper(servers[0], 20_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) connected.countDown();
        });
        System.out.println(connected.await(20, TimeUnit.SECONDS) ? "connected" : "not connected");
        System.exit(0);
    }
}
JAVA
try() { # version, option
    timeout 120 java ${2:+"-D$2"} -Djdk.net.hosts.file=hosts -Dzookeeper.client.secure=true \
        -Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty -Dzookeeper.ssl.protocol=TLSv1.3 \
        -Dzookeeper.ssl.keyStore.location=host.pem -Dzookeeper.ssl.trustStore.location=certificate.pem \
        -cp "$1/libs/*" Try.java "127.0.0.1:$port" >client.log 2>&1 || true
    said=$(tail -n 1 client.log)
    if reason=$(grep -m 1 -oE 'No (subject alternative|name).* found' client.log); then said+=": $reason"; fi
    printf '%-36s %s\n' "$1${2:+, $2}:" "$said" | tee -a seen
}
try 3.8.4 ''
try 3.9.4 ''
try 3.9.4 zookeeper.fips-mode=false
try 3.9.4 zookeeper.sasl.client=false
diff - seen >/dev/null <<'SEEN' || {
3.8.4:                               connected
3.9.4:                               not connected: No name matching zookeeper-1.example found
3.9.4, zookeeper.fips-mode=false:    connected
3.9.4, zookeeper.sasl.client=false:  connected
SEEN
    echo "It has changed, or did not run; the last lines of the server and the last client:" >&2
    tail -n 5 server.log client.log >&2
    exit 1
}
