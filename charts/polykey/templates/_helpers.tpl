{{- define "polykey.labels" -}}
app.kubernetes.io/name: polykey
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "polykey.selector" -}}
app.kubernetes.io/name: polykey
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The UID that names this cluster: the value, else looked up. */ -}}
{{- define "polykey.clusterUid" -}}
{{- $uid := .Values.clusterUid -}}
{{- if not $uid -}}
{{- $uid = dig "metadata" "uid" "" (lookup "v1" "Namespace" "" "kube-system") -}}
{{- end -}}
{{- required "clusterUid is needed where Helm cannot look it up: kubectl get namespace kube-system -o jsonpath='{.metadata.uid}'" $uid -}}
{{- end }}

{{- define "polykey.audience" -}}
polykey:{{ include "polykey.clusterUid" . }}
{{- end }}

{{- define "polykey.unlockSecret" -}}
{{- default (printf "%s-unlock" .Release.Name) .Values.unlock.existingSecret -}}
{{- end }}

{{- /* Restricted PodSecurity, for a container. */ -}}
{{- define "polykey.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The pod's own API credentials, projected: token, CA, namespace. */ -}}
{{- define "polykey.apiToken" -}}
- name: api-token
  projected:
    defaultMode: 0444
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}
