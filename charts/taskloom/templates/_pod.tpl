{{/* The pods.  Each takes (dict "root" $ "component" "api" "roles" "api" "account" "api" "values" .Values.api). */}}

{{/* Variables that say where the databases are. */}}
{{- define "taskloom.databaseEnv" -}}
{{- $db := .Values.database -}}
{{- if include "taskloom.external" . }}
- name: TASKLOOM_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- if $db.existingSecret }}
      name: {{ $db.existingSecret }}
      key: {{ $db.existingSecretKey }}
      {{- else }}
      name: {{ include "taskloom.fullname" . }}-database
      key: url
      {{- end }}
{{- end }}
{{- with $db.workflow }}
{{- if or .existingSecret .url }}
- name: TASKLOOM_WORKFLOW_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- if .existingSecret }}
      name: {{ .existingSecret }}
      key: {{ .existingSecretKey }}
      {{- else }}
      name: {{ include "taskloom.fullname" $ }}-database
      key: workflowUrl
      {{- end }}
{{- end }}
{{- end }}
- name: TASKLOOM_WEBHOOKS
  value: {{ .Values.settings.webhooks | quote }}
{{- end -}}

{{/* Whether these roles call an engine elsewhere: those that start, run, deploy or look workflows up. */}}
{{- define "taskloom.usesEngine" -}}
{{- if .root.Values.engine.url -}}
{{- range $role := splitList "," (.roles | default "") -}}
{{- if has $role (list "api" "worker" "relay" "controller") -}}true{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Variables that say where the engine is, and how it knows us. */}}
{{- define "taskloom.engineEnv" -}}
{{- with .Values.engine }}
{{- if .url }}
- name: TASKLOOM_ENGINE
  value: camunda
- name: TASKLOOM_ENGINE_URL
  value: {{ .url | quote }}
- name: TASKLOOM_ENGINE_HISTORY_DAYS
  value: {{ .historyDays | quote }}
{{- with .tenant }}
- name: TASKLOOM_ENGINE_TENANT
  value: {{ . | quote }}
{{- end }}
{{- with .oauth.tokenUrl }}
- name: TASKLOOM_ENGINE_OAUTH_TOKEN_URL
  value: {{ . | quote }}
{{- end }}
{{- with .oauth.scope }}
- name: TASKLOOM_ENGINE_OAUTH_SCOPE
  value: {{ . | quote }}
{{- end }}
{{- if .existingSecret }}
{{- $secret := .existingSecret }}
{{- $keys := dict "USER" "user" "PASSWORD" "password" "TOKEN" "token" }}
{{- if .oauth.tokenUrl }}
{{- $keys = dict "OAUTH_CLIENT_ID" "clientId" "OAUTH_CLIENT_SECRET" "clientSecret" }}
{{- end }}
{{- range $variable, $key := $keys }}
- name: TASKLOOM_ENGINE_{{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ $key }}
      optional: {{ not (hasPrefix "OAUTH" $variable) }}
{{- end }}
{{- if .tls.ca }}
- name: TASKLOOM_ENGINE_CA
  value: /etc/taskloom/engine/ca.crt
{{- end }}
{{- if .tls.certificate }}
- name: TASKLOOM_ENGINE_CERTIFICATE
  value: /etc/taskloom/engine/tls.crt
- name: TASKLOOM_ENGINE_KEY
  value: /etc/taskloom/engine/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Variables of every container that runs Taskloom. */}}
{{- define "taskloom.commonEnv" -}}
- name: TASKLOOM_DATA_DIR
  value: /var/lib/taskloom
- name: TASKLOOM_LOG_LEVEL
  value: {{ .Values.settings.logLevel }}
- name: TASKLOOM_LOG_FORMAT
  value: {{ .Values.settings.logFormat }}
{{- include "taskloom.databaseEnv" . }}
{{- end -}}

{{/* Variables of the container that serves. */}}
{{- define "taskloom.env" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $roles := splitList "," .roles -}}
{{ include "taskloom.commonEnv" $root }}
- name: TASKLOOM_ROLES
  value: {{ .roles }}
- name: TASKLOOM_HOST
  value: {{ $values.settings.host | quote }}
- name: TASKLOOM_PORT
  value: "8080"
- name: TASKLOOM_HEALTH_PORT
  value: "8081"
- name: TASKLOOM_LEASE_SECONDS
  value: {{ $values.settings.leaseSeconds | quote }}
{{- with $values.encryption.existingSecret }}
- name: TASKLOOM_ENCRYPTION_KEYS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $values.encryption.existingSecretKey }}
{{- end }}
{{- if include "taskloom.usesEngine" . }}
{{- include "taskloom.engineEnv" $root }}
{{- end }}
{{- if has "api" $roles }}
- name: TASKLOOM_AUTH_MODE
  value: {{ $values.auth.mode | quote }}
{{- include "taskloom.tokenEnv" $root }}
{{- with $values.auth.jwksUrl }}
- name: TASKLOOM_JWKS_URL
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if and (has "api" $roles) $values.callers.enabled }}
- name: TASKLOOM_KUBERNETES_CALLERS
  value: "true"
- name: TASKLOOM_KUBERNETES_AUDIENCE
  value: {{ $values.callers.audience | quote }}
- name: TASKLOOM_KUBERNETES_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}
{{- if has "controller" $roles }}
{{- if $values.connectors.dedicated.enabled }}
- name: TASKLOOM_WORKER_TEMPLATE
  value: /etc/taskloom/source/deployment.yaml
- name: TASKLOOM_WORKER_OWNER
  value: {{ include "taskloom.fullname" $root }}-source
{{- end }}
- name: TASKLOOM_KUBERNETES
  value: "true"
{{- with $values.controller.namespaces }}
- name: TASKLOOM_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- with $values.controller.selector }}
- name: TASKLOOM_SELECTOR
  value: {{ . | quote }}
{{- end }}
- name: TASKLOOM_LEASE_NAME
  value: {{ include "taskloom.lease" $root }}
- name: TASKLOOM_LEASE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}
{{- if has "worker" $roles }}
- name: TASKLOOM_WORKER_CONCURRENCY
  value: {{ $values.settings.workerConcurrency | quote }}
{{- end }}
{{- if has "connectors" $roles }}
- name: TASKLOOM_CONNECTOR_POOL
  value: {{ $values.connectors.pool | quote }}
{{- end }}
{{- if has "relay" $roles }}
- name: TASKLOOM_RELAY_CONCURRENCY
  value: {{ $values.settings.relayConcurrency | quote }}
- name: TASKLOOM_DELIVERY_CONCURRENCY
  value: {{ $values.settings.deliveryConcurrency | quote }}
{{- end }}
{{- with $values.settings.egress }}
- name: TASKLOOM_EGRESS_ALLOW_LOOPBACK
  value: {{ .allowLoopback | quote }}
- name: TASKLOOM_EGRESS_ALLOW_PRIVATE
  value: {{ .allowPrivate | quote }}
{{- with .allow }}
- name: TASKLOOM_EGRESS_ALLOW
  value: {{ join "," . | quote }}
{{- end }}
{{- with .deny }}
- name: TASKLOOM_EGRESS_DENY
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Variables that a token is made with, and judged by. */}}
{{- define "taskloom.tokenEnv" -}}
{{- with .Values.auth }}
{{- if and .existingSecret (eq .mode "jwt-secret") }}
- name: TASKLOOM_JWT_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .existingSecretKey }}
{{- end }}
{{- with .audience }}
- name: TASKLOOM_JWT_AUDIENCE
  value: {{ . | quote }}
{{- end }}
{{- with .issuer }}
- name: TASKLOOM_JWT_ISSUER
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What every container of ours has besides. */}}
{{- define "taskloom.container" -}}
image: {{ include "taskloom.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
volumeMounts:
  - name: data
    mountPath: /var/lib/taskloom
  - name: tmp
    mountPath: /tmp
  {{- if .template }}
  - name: source
    mountPath: /etc/taskloom/source
    readOnly: true
  {{- end }}
  {{- if and (include "taskloom.usesEngine" .) (or .root.Values.engine.tls.ca .root.Values.engine.tls.certificate) }}
  - name: engine
    mountPath: /etc/taskloom/engine
    readOnly: true
  {{- end }}
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* A Deployment. */}}
{{- define "taskloom.deployment" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $external := include "taskloom.external" $root -}}
{{- $scaled := and $values.autoscaling ($values.autoscaling).enabled -}}
{{- $fullname := include "taskloom.fullname" $root -}}
{{- $serves := has "api" (splitList "," .roles) -}}
{{- $template := and (has "controller" (splitList "," .roles)) $root.Values.connectors.dedicated.enabled -}}
{{- $token := or (has "controller" (splitList "," .roles)) (and $serves $root.Values.callers.enabled) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "taskloom.metadata" (dict "root" $root "component" .component "name" .name) | nindent 2 }}
spec:
  {{- if not $scaled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  {{- if not $external }}
  strategy:
    # The next pod waits for the data folder.
    type: Recreate
  {{- end }}
  selector:
    matchLabels:
      {{- include "taskloom.selector" (dict "root" $root "component" .component) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $labels := include "taskloom.selector" (dict "root" $root "component" .component) | fromYaml }}
        {{- $more := mergeOverwrite (dict "app.kubernetes.io/part-of" "taskloom") $root.Values.commonLabels $values.podLabels }}
        {{- toYaml (merge $labels $more) | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: taskloom
        {{- with $root.Values.database }}
        {{- if or .url .workflow.url }}
        checksum/database: {{ printf "%s %s" .url .workflow.url | sha256sum | trunc 16 | quote }}
        {{- end }}
        {{- end }}
        {{- if $template }}
        checksum/source: {{ include "taskloom.sourceDeployment" $root | sha256sum | trunc 16 | quote }}
        {{- end }}
        {{- with mergeOverwrite (deepCopy $root.Values.commonAnnotations) $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "taskloom.account" (dict "root" $root "account" .account) }}
      automountServiceAccountToken: {{ $token }}
      # A Service named taskloom would otherwise set TASKLOOM_PORT to a URL.
      enableServiceLinks: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $root.Values.podSecurityContext | nindent 8 }}
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- if or $external $values.extraInitContainers }}
      initContainers:
        {{- with $values.extraInitContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- if $external }}
        # One pod at a time, by a lock in the database; it ends at once if there is nothing to do.
        - name: migrate
          args: [migrate]
          env:
            {{- include "taskloom.commonEnv" $root | nindent 12 }}
            {{- with $values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with $values.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- include "taskloom.container" . | nindent 10 }}
        {{- end }}
      {{- end }}
      containers:
        - name: taskloom
          args: [serve]
          env:
            {{- include "taskloom.env" . | nindent 12 }}
          {{- with $values.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- if $serves }}
            - name: http
              containerPort: 8080
            {{- end }}
            - name: health
              containerPort: 8081
          startupProbe:
            httpGet:
              path: /healthz
              port: health
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 60
          # Stuck, not merely waiting for a database: that is the readiness probe's.
          livenessProbe:
            httpGet:
              path: /healthz
              port: health
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet:
              path: /readyz
              port: {{ ternary "http" "health" $serves }}
            periodSeconds: 5
            timeoutSeconds: 6
            failureThreshold: 2
          {{- if $serves }}
          lifecycle:
            # Until nobody sends new calls here.
            preStop:
              sleep:
                seconds: 5
          {{- end }}
          {{- with $values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- include "taskloom.container" (set . "template" $template) | nindent 10 }}
        {{- with $values.extraContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumes:
        - name: data
          {{- $persistence := $root.Values.database.embedded.persistence }}
          {{- if and (not $external) $persistence.enabled }}
          persistentVolumeClaim:
            claimName: {{ $persistence.existingClaim | default (printf "%s-data" $fullname) }}
          {{- else }}
          emptyDir: {}
          {{- end }}
        - name: tmp
          emptyDir: {}
        {{- if $template }}
        - name: source
          configMap:
            name: {{ $fullname }}-source
        {{- end }}
        {{- if and (include "taskloom.usesEngine" .) (or $root.Values.engine.tls.ca $root.Values.engine.tls.certificate) }}
        - name: engine
          secret:
            secretName: {{ $root.Values.engine.existingSecret }}
            items:
              {{- if $root.Values.engine.tls.ca }}
              - {key: ca.crt, path: ca.crt}
              {{- end }}
              {{- if $root.Values.engine.tls.certificate }}
              - {key: tls.crt, path: tls.crt}
              - {key: tls.key, path: tls.key}
              {{- end }}
        {{- end }}
        {{- with $values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}
