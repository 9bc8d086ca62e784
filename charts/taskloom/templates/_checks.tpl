{{/* Values that the first chart did not have: --reuse-values brings a release's own, without these. */}}
{{- define "taskloom.complete" -}}
{{- $callers := dict "enabled" true "audience" "taskloom" "eventPosters" list -}}
{{- $connectors := dict "pool" "default" "dedicated" (dict "enabled" false) -}}
{{- $engine := dict "url" "" "existingSecret" "" "oauth" (dict "tokenUrl" "" "scope" "") "tls" (dict "ca" false "certificate" false) "tenant" "" "historyDays" 180 -}}
{{- range $part, $defaults := dict "callers" $callers "connectors" $connectors "engine" $engine -}}
{{- $_ := set $.Values $part (index $.Values $part | default dict) -}}
{{- range $name, $default := $defaults -}}
{{- if not (hasKey (index $.Values $part) $name) -}}
{{- $_ := set (index $.Values $part) $name $default -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say: values that need each other. */}}

{{- define "taskloom.external" -}}
{{- if or .Values.database.existingSecret .Values.database.url -}}true{{- end -}}
{{- end -}}

{{- define "taskloom.checks" -}}
{{- $db := .Values.database -}}
{{- $namespace := .Release.Namespace -}}
{{- $external := include "taskloom.external" . -}}
{{- if and $db.existingSecret $db.url -}}
{{- fail "\n\ndatabase.existingSecret and database.url: give one of them." -}}
{{- end -}}
{{- if and $db.workflow.existingSecret $db.workflow.url -}}
{{- fail "\n\ndatabase.workflow.existingSecret and database.workflow.url: give one of them." -}}
{{- end -}}
{{- range $name, $url := dict "database.url" $db.url "database.workflow.url" $db.workflow.url -}}
{{- if and $url (not (regexMatch "^postgres(ql)?(\\+psycopg)?://" $url)) -}}
{{- fail (printf "\n\n%s is no URL such as postgresql://user:password@host:5432/name." $name) -}}
{{- end -}}
{{- end -}}
{{- if and (or $db.workflow.existingSecret $db.workflow.url) (not $external) -}}
{{- fail "\n\ndatabase.workflow needs a task database of yours as well: give database.existingSecret." -}}
{{- end -}}
{{- if and (eq .Values.mode "distributed") (not $external) -}}
{{- fail (printf "\n\nmode: distributed needs a database that all pods reach. Make a Secret with its URL:\n\n  kubectl create secret generic taskloom-database --namespace %s \\\n    --from-literal=url='postgresql://USER:PASSWORD@HOST:5432/NAME'\n\nand give it: --set database.existingSecret=taskloom-database" $namespace) -}}
{{- end -}}
{{- if and $external $db.embedded.persistence.enabled -}}
{{- fail "\n\ndatabase.embedded.persistence is of no use with a database of yours: leave one of the two out." -}}
{{- end -}}
{{- with .Values.engine -}}
{{- if and .url (not (regexMatch "^https?://[^@/]+(/|$)" .url)) -}}
{{- fail "\n\nengine.url is no URL such as http://operaton:8080/engine-rest (user and password stand in engine.existingSecret)." -}}
{{- end -}}
{{- if and (not .url) (or .existingSecret .oauth.tokenUrl .tenant) -}}
{{- fail "\n\nengine.existingSecret, engine.oauth and engine.tenant need engine.url." -}}
{{- end -}}
{{- if and (or .oauth.tokenUrl .tls.ca .tls.certificate) (not .existingSecret) -}}
{{- fail "\n\nengine.oauth.tokenUrl and engine.tls need engine.existingSecret." -}}
{{- end -}}
{{- end -}}
{{- if and $external (not .Values.encryption.existingSecret) -}}
{{- fail (printf "\n\nencryption.existingSecret is missing. What seals secrets in a database of yours has to outlive the pods. Make it once, and keep a copy:\n\n  kubectl create secret generic taskloom-encryption --namespace %s \\\n    --from-literal=keys=\"$(openssl rand -base64 32 | tr '+/' '-_')\"\n\nand give it: --set encryption.existingSecret=taskloom-encryption" $namespace) -}}
{{- end -}}
{{- if and $external (eq .Values.auth.mode "jwt-secret") (not .Values.auth.existingSecret) -}}
{{- fail (printf "\n\nauth.existingSecret is missing. All pods of the API must know the same secret of tokens. Make it once:\n\n  kubectl create secret generic taskloom-auth --namespace %s \\\n    --from-literal=jwtSecret=\"$(openssl rand -hex 32)\"\n\nand give it: --set auth.existingSecret=taskloom-auth (or choose auth.mode: jwks)" $namespace) -}}
{{- end -}}
{{- if and .Values.connectors.dedicated.enabled (not $external) -}}
{{- fail "\n\nconnectors.dedicated.enabled needs a database that all pods reach: give database.existingSecret." -}}
{{- end -}}
{{- if and (eq .Values.auth.mode "jwks") (not .Values.auth.jwksUrl) -}}
{{- fail "\n\nauth.mode: jwks needs auth.jwksUrl, the http(s) address of the public keys." -}}
{{- end -}}
{{- if and (eq .Values.mode "all-in-one") (not $external) (gt (int .Values.allInOne.replicas) 1) -}}
{{- fail "\n\nallInOne.replicas: one pod at most has the embedded database. For more give database.existingSecret." -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- if not .Values.ingress.hosts -}}
{{- fail "\n\ningress.enabled needs ingress.hosts, such as [{host: tasks.example.com, paths: [{path: /, pathType: Prefix}]}]." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "\n\nhttpRoute.enabled needs httpRoute.parentRefs, such as [{name: public, namespace: gateways}]." -}}
{{- end -}}
{{- range list "api" "worker" -}}
{{- $scaled := (index $.Values .).autoscaling -}}
{{- if gt (int $scaled.minReplicas) (int $scaled.maxReplicas) -}}
{{- fail (printf "\n\n%s.autoscaling: minReplicas is more than maxReplicas." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
