{{/* What everything is called: names, labels, image. */}}

{{- define "taskloom.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's if it is not in there; room is left for what follows. */}}
{{- define "taskloom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "taskloom.name" . -}}
{{- /* A Service's name has no dots, a release's may. */ -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if contains $name $release -}}
{{- $release | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a component: (dict "root" $ "component" "api"). */}}
{{- define "taskloom.selector" -}}
app.kubernetes.io/name: {{ include "taskloom.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* All labels of an object: (dict "root" $ "component" "api"); the component may be left out. */}}
{{- define "taskloom.labels" -}}
{{ include "taskloom.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: taskloom
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata below `metadata:`: (dict "root" $ "name" "x" "component" "api" "labels" .. "annotations" ..). */}}
{{- define "taskloom.metadata" -}}
name: {{ .name }}
{{- if not .clusterWide }}
namespace: {{ .namespace | default .root.Release.Namespace }}
{{- end }}
labels:
  {{- $labels := include "taskloom.labels" . | fromYaml }}
  {{- toYaml (mergeOverwrite $labels (.labels | default dict)) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "taskloom.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the ServiceAccount of controller, api or worker: (dict "root" $ "account" "api"). */}}
{{- define "taskloom.account" -}}
{{- $given := index .root.Values.serviceAccount (printf "%sName" .account) -}}
{{- if $given -}}
{{- $given -}}
{{- else if .root.Values.serviceAccount.create -}}
{{- printf "%s-%s" (include "taskloom.fullname" .root) .account -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* Name of the Service, and the URL by which pods of the cluster reach it. */}}
{{- define "taskloom.url" -}}
{{- printf "http://%s.%s.svc:%v" (include "taskloom.fullname" .) .Release.Namespace .Values.service.port -}}
{{- end -}}

{{- define "taskloom.lease" -}}
{{- .Values.controller.leaseName | default (printf "%s-controller" (include "taskloom.fullname" .)) -}}
{{- end -}}
