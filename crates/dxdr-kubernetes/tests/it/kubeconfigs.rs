//! Kubeconfigs that are missing, wrong or incomplete.

use std::{fs, path::PathBuf};

use dxdr_kubernetes::{ConnectError, ConnectOptions, Surroundings, connect_from};
use dxdr_provider::Cluster as _;
use tempfile::TempDir;

use crate::scripted::{Reply, ScriptedServer};

const TWO: &str = "apiVersion: v1
kind: Config
contexts:
- name: staging
  context: {cluster: one, user: me, namespace: shop}
- name: production
  context: {cluster: nowhere}
- name: stranger
  context: {cluster: one, user: nobody}
- name: odd
  context: {cluster: odd}
clusters:
- name: one
  cluster: {server: 'https://user:hunter2@127.0.0.1:6443/'}
- name: odd
  cluster: {server: 'https://[[/'}
users:
- name: me
  user: {token: s3cret-token}
";

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings { home: Some(self.folder.path().to_owned()), ..Surroundings::default() }
    }

    async fn fails(&self, file: Option<PathBuf>, context: Option<&str>, surroundings: &Surroundings) -> (String, String) {
        let options = ConnectOptions { kubeconfig: file, context: context.map(Into::into), ..ConnectOptions::default() };
        let error: ConnectError = connect_from(options, surroundings).await.unwrap_err();
        let folder = self.folder.path().display().to_string();
        assert!(!format!("{error} {error:?} {:?}", error.hints()).contains("s3cret-token"));
        (error.to_string().replace(&folder, "~"), error.hints().join("; "))
    }
}

#[tokio::test]
async fn a_context_that_does_not_exist_is_answered_with_those_that_do() {
    let desk = Desk::new();
    let file = desk.write("config", TWO);
    let (error, hints) = desk.fails(Some(file), Some("stagin"), &desk.surroundings()).await;
    assert_eq!(error, "there is no context `stagin` in ~/config");
    assert!(hints.contains("did you mean `--context staging`?"), "{hints}");
    assert!(hints.contains("these contexts exist: `staging`, `production`, `stranger`, `odd`"), "{hints}");
}

#[tokio::test]
async fn a_kubeconfig_without_current_context_asks_for_one() {
    let desk = Desk::new();
    for text in [TWO.to_owned(), format!("{TWO}current-context: ''\n")] {
        let file = desk.write("config", &text);
        let (error, hints) = desk.fails(Some(file), None, &desk.surroundings()).await;
        assert_eq!(error, "no context was chosen, and ~/config names no current one");
        assert!(hints.contains("--context") && hints.contains("`staging`"), "{hints}");
    }
}

#[tokio::test]
async fn a_current_context_that_does_not_exist_is_the_file_s_fault() {
    let desk = Desk::new();
    let file = desk.write("config", &format!("{TWO}current-context: gone\n"));
    let (error, hints) = desk.fails(Some(file), None, &desk.surroundings()).await;
    assert_eq!(error, "there is no context `gone` in ~/config");
    assert!(hints.contains("current-context"), "{hints}");
}

#[tokio::test]
async fn a_missing_file_is_named_with_what_named_it() {
    let desk = Desk::new();
    let missing = desk.folder.path().join("missing");
    let (error, _) = desk.fails(Some(missing.clone()), None, &desk.surroundings()).await;
    assert_eq!(error, "the kubeconfig ~/missing named by --kubeconfig does not exist");
    let surroundings = Surroundings { kubeconfig: Some(missing.into()), ..desk.surroundings() };
    let (error, _) = desk.fails(None, None, &surroundings).await;
    assert_eq!(error, "the kubeconfig ~/missing named by KUBECONFIG does not exist");
}

#[tokio::test]
async fn without_any_kubeconfig_the_usual_place_is_named() {
    let desk = Desk::new();
    let (error, hints) = desk.fails(None, Some("staging"), &desk.surroundings()).await;
    assert_eq!(error, "there is no kubeconfig: ~/.kube/config does not exist, and this is no Pod of a cluster");
    assert!(hints.contains("dxdr sandbox up"), "{hints}");
}

#[tokio::test]
async fn a_file_that_is_no_kubeconfig_is_refused_without_quoting_it() {
    let desk = Desk::new();
    for text in ["users: s3cret-token\n", "users:\n- name: me\n  user: {token: [s3cret-token}\n"] {
        let file = desk.write("config", text);
        let (error, _) = desk.fails(Some(file), None, &desk.surroundings()).await;
        assert!(error.starts_with("~/config is not a kubeconfig: line "), "{error}");
    }
    let folder = desk.folder.path().to_owned();
    let options = ConnectOptions { kubeconfig: Some(folder), ..ConnectOptions::default() };
    let error = connect_from(options, &desk.surroundings()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_context_that_leads_nowhere_says_what_is_missing() {
    let desk = Desk::new();
    let file = desk.write("config", TWO);
    let (error, _) = desk.fails(Some(file.clone()), Some("production"), &desk.surroundings()).await;
    assert_eq!(error, "the context `production` of ~/config cannot be used: its cluster `nowhere` does not exist");
    let (error, _) = desk.fails(Some(file.clone()), Some("stranger"), &desk.surroundings()).await;
    assert_eq!(error, "the context `stranger` of ~/config cannot be used: its user `nobody` does not exist");
    let (error, _) = desk.fails(Some(file), Some("odd"), &desk.surroundings()).await;
    assert!(error.starts_with("the context `odd` of ~/config cannot be used: "), "{error}");
}

#[tokio::test]
async fn a_credential_plugin_that_fails_is_named_and_its_output_is_not_shown() {
    let desk = Desk::new();
    let plugin = desk.write("plugin", "#!/bin/sh\necho s3cret-token\necho 'session expired' >&2\nexit 3\n");
    let text = format!(
        "{}- name: plugin\n  user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['{}']}}}}\n",
        TWO.replace("user: nobody", "user: plugin"),
        plugin.display()
    );
    let file = desk.write("config", &text);
    let (error, _) = desk.fails(Some(file), Some("stranger"), &desk.surroundings()).await;
    assert!(error.starts_with("cannot log in with the context `stranger`: the credential plugin failed with exit status: 3"));
}

#[tokio::test]
async fn the_flag_comes_before_the_variable_and_the_variable_before_the_home_folder() {
    let desk = Desk::new();
    let config = |name: &str, port: u16| {
        let text = format!(
            "current-context: {name}\ncontexts:\n- name: {name}\n  context: {{cluster: {name}, namespace: shop}}\n\
             clusters:\n- name: {name}\n  cluster: {{server: 'https://user:hunter2@127.0.0.1:{port}/'}}\n"
        );
        desk.write(&format!("{name}/.kube/config"), &text)
    };
    let (flag, variable, other) = (config("flag", 1), config("variable", 2), config("other", 3));
    config("home", 4);
    let mut surroundings = Surroundings { home: Some(desk.folder.path().join("home")), ..Surroundings::default() };
    let connected = |kubeconfig: Option<PathBuf>, context: Option<&str>, surroundings: Surroundings| {
        let options = ConnectOptions { kubeconfig, context: context.map(Into::into), ..ConnectOptions::default() };
        async move { connect_from(options, &surroundings).await.unwrap() }
    };
    let cluster = connected(None, None, surroundings.clone()).await;
    assert_eq!(cluster.describe(), "context `home` (https://127.0.0.1:4)");
    assert_eq!(cluster.default_namespace(), "shop");
    let list = std::env::join_paths([desk.folder.path().join("missing"), variable, other]).unwrap();
    surroundings.kubeconfig = Some(list);
    let cluster = connected(None, None, surroundings.clone()).await;
    assert_eq!(cluster.describe(), "context `variable` (https://127.0.0.1:2)");
    let cluster = connected(None, Some("other"), surroundings.clone()).await;
    assert_eq!(cluster.describe(), "context `other` (https://127.0.0.1:3)");
    let cluster = connected(Some(flag), None, surroundings).await;
    assert_eq!(cluster.describe(), "context `flag` (https://127.0.0.1:1)");
}

#[tokio::test]
async fn a_token_file_that_ends_in_a_newline_is_as_good_as_one_that_does_not() {
    let server =
        ScriptedServer::playing(vec![Reply::Json(200, r#"{"major": "1", "minor": "36", "gitVersion": "v1.36.0"}"#.into())]).await;
    let desk = Desk::new();
    let token = desk.write("token", "s3cret-token\n");
    let text = format!(
        "current-context: lab\ncontexts:\n- name: lab\n  context: {{cluster: lab, user: me}}\nusers:\n- name: me\n  user: {{tokenFile: '{}'}}\n\
         clusters:\n- name: lab\n  cluster: {{server: 'http://127.0.0.1:{}'}}\n",
        token.display(),
        server.port
    );
    let options = ConnectOptions { kubeconfig: Some(desk.write("config", &text)), ..ConnectOptions::default() };
    connect_from(options, &desk.surroundings()).await.unwrap().version().await.unwrap();
    assert!(server.heard()[0].head.to_lowercase().contains("bearer s3cret-token\r\n"), "{}", server.heard()[0].head);
}
