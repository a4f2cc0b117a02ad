/** `router init --kubernetes`: what runs the router in a cluster, as documents of YAML. Pure text. */

/** Calls of one replica from which on the cluster starts another: some half of what one core relays of streams at 50 tokens a second. */
const CALLS_A_REPLICA = 500;
/** Longest that a stop takes by default, s: 5 s with /health/ready off, 10 min for running calls, and a margin. */
const STOP_SECONDS = 660;
/** The user of the image. */
const USER = 65532;

const MANIFESTS = `# router.k8s.yaml
#
#   docker build --tag router . and push it to your registry; write its name below
#   kubectl create secret generic router --from-literal=ROUTER_API_KEYS=… --from-literal=OPENAI_API_KEY=… --from-literal=REDIS_URL=redis://…
#   router init --kubernetes > router.k8s.yaml
#   kubectl apply --filename router.k8s.yaml
#
# The secret holds variables: keys of callers and vendors, and a Redis, over which replicas have limits, budgets, keys and answers in common. Without
# one each replica counts for itself, and keys that are made while it runs are its own. A replica keeps its ledger as long as its pod is there.
apiVersion: v1
kind: ConfigMap
metadata:
  name: router
  labels: { app.kubernetes.io/name: router }
data:
  # \`router init --stdout\` prints every setting.
  router.yaml: |
    log: { level: info }
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: router
  labels: { app.kubernetes.io/name: router }
spec:
  # How many there are the HorizontalPodAutoscaler says; without one write replicas: 2.
  selector:
    matchLabels: { app.kubernetes.io/name: router }
  strategy:
    type: RollingUpdate
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  template:
    metadata:
      labels: { app.kubernetes.io/name: router }
    spec:
      # Running calls may finish.
      terminationGracePeriodSeconds: ${STOP_SECONDS}
      automountServiceAccountToken: false
      # Variables of services would be taken for settings.
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: ${USER}
        runAsGroup: ${USER}
        fsGroup: ${USER}
        seccompProfile: { type: RuntimeDefault }
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: { app.kubernetes.io/name: router }
      containers:
        - name: router
          image: router
          ports:
            - { name: http, containerPort: 8000 }
          envFrom:
            - secretRef: { name: router }
          env:
            - { name: HOST, value: 0.0.0.0 }
            - { name: PORT, value: "8000" }
            - { name: ROUTER_CONFIG, value: /etc/router/router.yaml }
            - { name: DATA_DIR, value: /data }
            - { name: LOG_DIR, value: /data/logs }
            # Keys are in the secret: none is made.
            - { name: ROUTER_GENERATE_KEY, value: "" }
          startupProbe:
            httpGet: { path: /health/live, port: http }
            periodSeconds: 1
            failureThreshold: 60
          livenessProbe:
            httpGet: { path: /health/live, port: http }
            periodSeconds: 10
            timeoutSeconds: 5
          readinessProbe:
            httpGet: { path: /health/ready, port: http }
            periodSeconds: 1
            timeoutSeconds: 2
          resources:
            requests: { cpu: "1", memory: 256Mi }
            limits: { memory: 1Gi }
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: { drop: [ALL] }
          volumeMounts:
            - { name: config, mountPath: /etc/router, readOnly: true }
            - { name: data, mountPath: /data }
      volumes:
        - name: config
          configMap: { name: router }
        - name: data
          emptyDir: { sizeLimit: 4Gi }
---
apiVersion: v1
kind: Service
metadata:
  name: router
  labels: { app.kubernetes.io/name: router }
spec:
  selector: { app.kubernetes.io/name: router }
  ports:
    - { name: http, port: 8000, targetPort: http }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: router
  labels: { app.kubernetes.io/name: router }
spec:
  maxUnavailable: 1
  selector:
    matchLabels: { app.kubernetes.io/name: router }
---
# By calls under way, not by CPU: a stream of a slow model takes hardly any. The metric is the router's own; an adapter brings it to the cluster's
# custom metrics. For prometheus-adapter that is a rule:
#   - seriesQuery: 'router_in_flight_requests{namespace!="",pod!=""}'
#     resources: { overrides: { namespace: { resource: namespace }, pod: { resource: pod } } }
#     metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
# Without one there are as many replicas as minReplicas says.
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: router
  labels: { app.kubernetes.io/name: router }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: router }
  minReplicas: 2
  maxReplicas: 10
  metrics:
    - type: Pods
      pods:
        metric: { name: router_in_flight_requests }
        target: { type: AverageValue, averageValue: "${CALLS_A_REPLICA}" }
  behavior:
    scaleDown:
      # A replica that goes lets its calls finish: not for every lull.
      stabilizationWindowSeconds: 300
      policies:
        - { type: Pods, value: 1, periodSeconds: 60 }
---
# For Prometheus' operator; leave it out where there is none.
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: router
  labels: { app.kubernetes.io/name: router }
spec:
  selector:
    matchLabels: { app.kubernetes.io/name: router }
  endpoints:
    # Where \`server.metrics\` is admin it needs an \`authorization\` with an admin key of the secret.
    - { port: http, path: /metrics, interval: 15s }
`;

/** ConfigMap, Deployment, Service, PodDisruptionBudget, HorizontalPodAutoscaler and ServiceMonitor, around the image of this repository's Dockerfile. */
export const kubernetesManifests = (): string => MANIFESTS;
