{{/* The Deployments of a mode, as JSON: name, component, roles and account of each. */}}
{{- define "taskloom.deployments" -}}
{{- $fullname := include "taskloom.fullname" . -}}
{{- if eq .Values.mode "all-in-one" -}}
{{- list
  (dict "name" $fullname "component" "all-in-one" "key" "allInOne" "account" "controller"
    "roles" "api,connectors,worker,relay,dispatcher,controller")
  | toJson -}}
{{- else -}}
{{- list
  (dict "name" (printf "%s-api" $fullname) "component" "api" "key" "api" "account" "api"
    "roles" "api")
  (dict "name" (printf "%s-controller" $fullname) "component" "controller" "key" "controller"
    "account" "controller" "roles" "controller")
  (dict "name" (printf "%s-worker" $fullname) "component" "worker" "key" "worker"
    "account" "worker" "roles" "worker")
  (dict "name" (printf "%s-relay" $fullname) "component" "relay" "key" "relay"
    "account" "worker" "roles" "relay,dispatcher")
  (dict "name" (printf "%s-connectors" $fullname) "component" "connectors" "key" "connectors"
    "account" "worker" "roles" "connectors")
  | toJson -}}
{{- end -}}
{{- end -}}

{{/* The component whose pods serve the API. */}}
{{- define "taskloom.apiComponent" -}}
{{- ternary "all-in-one" "api" (eq .Values.mode "all-in-one") -}}
{{- end -}}

{{/* What the controller makes a Deployment of for an EventSource that wants its own. */}}
{{- define "taskloom.sourceDeployment" -}}
{{- $values := mergeOverwrite (deepCopy .Values.connectors) (dict "autoscaling" (dict "enabled" true)) -}}
{{- include "taskloom.deployment" (dict "root" . "values" $values "name" (printf "%s-source" (include "taskloom.fullname" .)) "component" "source" "roles" "connectors" "account" "worker") -}}
{{- end -}}
