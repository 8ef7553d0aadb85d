use dxdr_sandbox::{Options, Sandbox};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, Config};

#[tokio::test]
async fn a_served_sandbox_answers_until_it_is_stopped() {
    let sandbox = Sandbox::new(Options { token: Some("open".to_owned()), ..Options::default() });
    let serving = sandbox.serve_on("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&sandbox.kubeconfig(serving.address())).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(Client::try_from(config).unwrap());
    assert_eq!(namespaces.list(&ListParams::default()).await.unwrap().items.len(), 4);
    let stranger: Api<Namespace> =
        Api::all(Client::try_from(Config::new(format!("http://{}", serving.address()).parse().unwrap())).unwrap());
    assert!(matches!(stranger.list(&ListParams::default()).await, Err(kube::Error::Api(status)) if status.code == 401));
    let address = serving.address();
    drop((namespaces, stranger));
    serving.stop().await;
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn thousands_of_objects_are_listed_in_pages() {
    let sandbox = Sandbox::new(Options::default());
    let client = Client::new(sandbox.router(), "default");
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::default_namespaced(client);
    let mut map = k8s_openapi::api::core::v1::ConfigMap::default();
    for index in 0..2000 {
        map.metadata.name = Some(format!("map-{index:05}"));
        maps.create(&Default::default(), &map).await.unwrap();
    }
    let mut seen = 0;
    let mut parameters = ListParams::default().limit(300);
    loop {
        let page = maps.list(&parameters).await.unwrap();
        seen += page.items.len();
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = ListParams::default().limit(300).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(seen, 2001);
}
